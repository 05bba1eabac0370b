import { Socket as DatagramSocket } from 'node:dgram'
import { Server } from 'node:net'
import { constants } from 'node:os'
import { resolve } from 'node:path'
import { fromNative, type ListenAddress } from '../address.js'
import { LISTENING, type StreamHandle, tcpConstructor } from '../client/connection/stream-handle.js'
import { HandleServer } from '../client/serve/handle-server.js'
import type { ListenAnswer, NativeListenChannel } from '../native.js'
import { datagramHandle } from './datagram-handle.js'
import type { RunWorker } from './run-worker.js'

/** The arguments that Node passes to `cluster._getServer`. */
export interface ServerQuery {
  /** An IP address, a path, or null for all addresses. */
  address: string | null | undefined
  /** -1 for a path, null for a descriptor. */
  port: number | null | undefined
  /** 4, 6, or -1 for a path. For a `dgram` socket, `udp4` or `udp6`. */
  addressType: number | string | null | undefined
  fd: number | null | undefined
  flags?: number | undefined
  backlog?: number | undefined
  readableAll?: boolean | undefined
  writableAll?: boolean | undefined
}

/** Receives an error number, or the handle to listen on. For null, Node creates a handle itself. */
export type ServerCallback = (error: number, handle: object | null) => void

/** The listeners that the parent has opened for this worker. */
export class Listeners {
  readonly #native: NativeListenChannel
  readonly #worker: RunWorker
  /** The ordinals in use, by key, for listeners whose port the system chooses. */
  readonly #ordinals = new Map<string, Set<number>>()
  readonly #servers = new Set<Server | DatagramSocket>()

  constructor(native: NativeListenChannel, worker: RunWorker) {
    this.#native = native
    this.#worker = worker
  }

  /**
   * Replaces `cluster._getServer`. Calls `callback` before the return, so that a server listens when `listen()` returns. If the
   * parent cannot listen, the handle's `listen()` returns the error. An error in `callback` would emit `error` before the app can
   * listen for the event.
   */
  readonly getServer = (server: unknown, query: ServerQuery, callback: ServerCallback): void => {
    const adopted = typeof query.fd === 'number' ? this.#worker.adopted(query.fd) : undefined
    if (server instanceof DatagramSocket) this.#bind(server, query, callback)
    else if (!(server instanceof Server)) callback(0, null)
    else if (adopted !== undefined) this.#listenAt(adopted, server, query, callback)
    else if (typeof query.fd === 'number') callback(0, null)
    else if (query.port === -1) this.#listenOnPath(server, query, callback)
    else this.#listenOnPort(server, query, callback)
  }

  /** Returns whether the parent has opened the listener of a server. */
  readonly isShared = (server: Server): boolean => this.#servers.has(server)

  /** Closes every server, and calls `closed` when the last server has closed. */
  readonly closeAll = (closed: () => void): void => {
    let open = this.#servers.size + 1
    const countClosed = (): void => {
      open -= 1
      if (open === 0) closed()
    }
    for (const server of this.#servers) server.close(countClosed)
    countClosed()
  }

  /** Listens at the address of a descriptor that the parent has adopted. In this process, the number means another descriptor. */
  #listenAt(adopted: ListenAddress, server: Server, query: ServerQuery, callback: ServerCallback): void {
    if ('path' in adopted) this.#listenOnPath(server, { ...query, address: adopted.path }, callback)
    else this.#listenOnPort(server, { ...query, address: adopted.address, port: adopted.port }, callback)
  }

  #listenOnPath(server: Server, query: ServerQuery, callback: ServerCallback): void {
    const { address, readableAll = false, writableAll = false, backlog } = query
    const name = address ?? ''
    if (Buffer.byteLength(name) > MAX_PATH) {
      callback(0, failing(-constants.errno.ENAMETOOLONG, undefined))
      return
    }
    const path = name.startsWith('\0') ? name : resolve(name)
    const answer = this.#native.listenPath(path, readableAll, writableAll, backlogOf(backlog))
    const { listener, lane } = answer
    if (listener === undefined || lane === undefined) callback(0, failing(pathError(answer), undefined))
    else this.#serve(server, { listener, lane, address: { path: name }, release: () => {} }, callback)
  }

  #listenOnPort(server: Server, query: ServerQuery, callback: ServerCallback): void {
    const { address, flags = 0, backlog } = query
    const port = query.port ?? 0
    const host = address ?? ''
    const { ordinal, release } = this.#ordinal(port, `tcp ${host} ${flags}`)
    const isIpv6Only = (flags & UV_TCP_IPV6ONLY) !== 0
    const answer = this.#native.listenTcp(host, port, isIpv6Only, backlogOf(backlog), ordinal)
    const { listener, lane } = answer
    if (listener === undefined || lane === undefined || answer.address === undefined) {
      release()
      nameAddress(server, query, { address: '::', family: 'IPv6' })
      callback(0, failing(answer.error?.errno ?? -1, port))
    } else {
      nameAddress(server, query, answer.address)
      this.#serve(server, { listener, lane, address: fromNative(answer.address), release }, callback)
    }
  }

  /** Binds a UDP socket that the workers share. The system gives each datagram to one worker. */
  #bind(
    socket: DatagramSocket,
    { address, addressType, flags = 0, ...query }: ServerQuery,
    callback: ServerCallback,
  ): void {
    const port = query.port ?? 0
    const host = address ?? (addressType === 'udp6' ? '::' : '0.0.0.0')
    const { ordinal, release } = this.#ordinal(port, `udp ${host} ${flags}`)
    const isIpv6Only = (flags & UV_UDP_IPV6ONLY) !== 0
    const reusesAddress = (flags & UV_UDP_REUSEADDR) !== 0
    const { listener, fd, error } = this.#native.bindUdp(host, port, isIpv6Only, reusesAddress, ordinal)
    if (listener === undefined || fd === undefined) {
      release()
      // Unlike net, dgram calls `_getServer` after bind() has returned, so the app receives the `error` event.
      callback(error?.errno ?? -1, null)
      return
    }
    const handle = datagramHandle(socket, fd, () => {
      release()
      this.#servers.delete(socket)
      if (!this.#worker.isRetired) this.#native.close(listener)
    })
    if (typeof handle === 'number') callback(handle, null)
    else {
      this.#servers.add(socket)
      callback(0, handle)
    }
  }

  #serve(server: Server, { listener, lane, address, release }: Opened, callback: ServerCallback): void {
    let isOpen = true
    const begin = (): void => {
      this.#native.accept(listener)
      this.#worker.listens()
    }
    const close = (): void => {
      if (!isOpen) return
      isOpen = false
      release()
      this.#servers.delete(server)
      if (!this.#worker.isRetired) this.#native.close(listener)
    }
    this.#servers.add(server)
    this.#worker.serve(lane, (hooks) => {
      const ready = (): void => {
        begin()
        hooks.ready()
      }
      const stopped = (): void => {
        close()
        hooks.stopped()
      }
      const served = new HandleServer(server, { ...hooks, ready, stopped }, address)
      callback(0, served.handle)
      return served
    })
  }

  /** Returns the lowest number that no open listener of this key has, and a function that frees the number. Port 0 only. */
  #ordinal(port: number, key: string): { ordinal: number; release: () => void } {
    if (port !== 0) return { ordinal: 0, release: () => {} }
    const used = this.#ordinals.get(key) ?? new Set()
    this.#ordinals.set(key, used)
    let ordinal = 0
    while (used.has(ordinal)) ordinal += 1
    used.add(ordinal)
    return { ordinal, release: () => void used.delete(ordinal) }
  }
}

/** A listener that the parent has opened. */
interface Opened {
  listener: number
  lane: number
  address: ListenAddress
  /** Frees the ordinal of the listener. */
  release: () => void
}

/**
 * For a server that listens on all addresses, makes Node use the actual address in errors and in the server's properties, as outside
 * of `cluster`. Node calls the method `_listen2` by this name so that other code can wrap the method.
 */
function nameAddress(
  server: Server,
  query: ServerQuery,
  { address, family }: { address: string; family: string },
): void {
  const listen: unknown = Reflect.get(server, '_listen2')
  if (typeof query.address === 'string' || typeof listen !== 'function') return
  const named = (_address: unknown, port: unknown, _type: unknown, ...rest: unknown[]): unknown => {
    Reflect.deleteProperty(server, '_listen2')
    return Reflect.apply(listen, server, [address, port, family === 'IPv6' ? 6 : 4, ...rest])
  }
  Object.defineProperty(server, '_listen2', { value: named, configurable: true, writable: true })
}

/** Returns the error number that libuv returns for a failed bind(2) to a path: EACCES for a missing folder. */
function pathError({ error }: ListenAnswer): number {
  return error?.code === 'ENOENT' ? -constants.errno.EACCES : (error?.errno ?? -1)
}

/**
 * Returns a handle whose `listen()` fails, so that Node creates the same error as in a single process. Before that, Node compares the
 * result of `getsockname()` with the port (checkBindError in lib/net.js).
 */
function failing(errno: number, port: number | undefined): StreamHandle {
  const Handle = tcpConstructor()
  const getsockname = (out: object): number => {
    Object.assign(out, { port })
    return 0
  }
  return Object.assign(new Handle(LISTENING), {
    listen: () => errno,
    getsockname: port === undefined ? undefined : getsockname,
  })
}

function backlogOf(backlog: number | undefined): number {
  return backlog === undefined || backlog <= 0 ? DEFAULT_BACKLOG : backlog
}

/**
 * The maximum length of a path in bytes: `sun_path` without a null byte. The limit applies to the name that the app passes, because
 * the parent can bind to a longer absolute path. libuv truncates a longer name and listens at another path.
 */
const MAX_PATH = process.platform === 'darwin' ? 103 : 107

/** The backlog that Node passes to listen(2) by default. */
const DEFAULT_BACKLOG = 511

/** libuv's flags of `uv_tcp_bind` and `uv_udp_bind`. */
const UV_TCP_IPV6ONLY = 1
const UV_UDP_IPV6ONLY = 1
const UV_UDP_REUSEADDR = 4
