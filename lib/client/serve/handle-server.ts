import type { Server, Socket } from 'node:net'
import type { ListenAddress } from '../../address.js'
import { serverAlreadyListens } from '../../errors.js'
import { closeConnection, openHandle, rememberPeer } from '../connection/adopt-socket.js'
import type { ReceivedConnection } from '../connection/received-connection.js'
import { LISTENING, type StreamHandle, tcpConstructor, unsupportedRuntime } from '../connection/stream-handle.js'
import { uncaught } from '../lifecycle/uncaught.js'
import { ServedDrain } from './served-drain.js'
import type { ServedServer, ServeHooks } from './served-server.js'
import { SharedTicketKeys } from './ticket-keys.js'

/**
 * A server that listens on a fake handle: a TCP handle that was never opened and whose `listen` does nothing. For each connection
 * this class calls the callback that Node calls for an accepted connection. So Node's own code handles maxConnections, noDelay,
 * keepAlive, allowHalfOpen, getConnections(), close() and the timeouts of http.
 *
 * The server gets the handle at once, so that it cannot listen elsewhere and `close()` works. It emits `listening` as soon as the
 * address of the parent's listener is known.
 */
export class HandleServer implements ServedServer {
  readonly #server: Server
  readonly #hooks: ServeHooks
  readonly #drain: ServedDrain
  readonly #listener: StreamHandle
  readonly #ticketKeys: SharedTicketKeys
  #state: 'waiting' | 'starting' | 'listening' | 'closed' = 'waiting'
  #isOpening = false
  /** Whether Node makes the server listen. Then only the application closes the server. */
  #isOpenedByNode = false
  #address: ListenAddress | undefined
  #receiving: ReceivedConnection | undefined
  /** The socket that the server created for `#receiving`. */
  #socket: Socket | undefined

  /**
   * With `address`, the address of the parent's listener, Node itself makes the server listen on `handle`, as with a handle of
   * `cluster`. Otherwise `open()` does. Throws ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME if this process cannot create handles.
   */
  constructor(server: Server, hooks: ServeHooks, address?: ListenAddress) {
    const Handle = tcpConstructor()
    this.#server = server
    this.#hooks = hooks
    this.#listener = this.#fakeListener(new Handle(LISTENING))
    this.#drain = new ServedDrain(server, () => this.#close())
    this.#ticketKeys = SharedTicketKeys.of(server)
    if (address === undefined) Reflect.set(server, '_handle', this.#listener)
    else this.#awaitNode(address)
    this.#watchConnections()
  }

  /** The handle on which the server listens. */
  get handle(): StreamHandle {
    return this.#listener
  }

  get isStarting(): boolean {
    return this.#state === 'waiting' || this.#state === 'starting'
  }

  open(address: ListenAddress): void {
    if (this.#state === 'closed' || this.#isOpenedByNode) return
    this.#setAddress(address)
    if (this.#state === 'waiting') this.#listen()
  }

  get demand(): number {
    return this.#state === 'listening' ? Number.POSITIVE_INFINITY : 0
  }

  receive(connection: ReceivedConnection): Socket | undefined {
    const handle = openHandle(connection)
    this.#learnPort(connection.localPort)
    this.#ticketKeys.set(this.#hooks.ticketKeys)
    this.#receiving = connection
    const hasThrown = uncaught(() => this.#onConnection(handle))
    const socket = this.#socket
    this.#receiving = undefined
    this.#socket = undefined
    if (socket !== undefined) return socket
    // After an error there is no socket that would close the connection.
    if (hasThrown) closeConnection(connection)
    // The server dropped the connection (maxConnections, block list), or the application has removed our listener, too.
    this.#watchConnections()
    return undefined
  }

  closed(socket: Socket): void {
    this.#drain.forget(socket)
  }

  announceDrain(): void {
    this.#drain.announce()
  }

  drain(): void {
    this.#drain.begin()
  }

  resume(): void {
    this.#drain.resume()
  }

  finish({ close }: { close: boolean }): void {
    this.#drain.finish({ close: close && !this.#isOpenedByNode })
  }

  end(): void {
    this.#drain.end()
    this.#server.off('connection', this.#onSocket)
  }

  /** Closes the server, unless it has closed this handle: it may listen elsewhere by now. */
  #close(): void {
    if (this.#state !== 'closed' && this.#server.listening) this.#server.close()
  }

  #listen(): void {
    this.#state = 'starting'
    this.#server.once('listening', this.#ready)
    // `listen()` throws for a server that has a handle.
    Reflect.set(this.#server, '_handle', null)
    this.#isOpening = true
    try {
      this.#server.listen(this.#listener)
    } catch (error) {
      this.#server.off('listening', this.#ready)
      throw unsupportedRuntime(error)
    } finally {
      this.#isOpening = false
    }
  }

  /** Waits until Node, which gets the handle next, has made the server listen. */
  #awaitNode(address: ListenAddress): void {
    this.#isOpenedByNode = true
    this.#isOpening = true
    this.#state = 'starting'
    this.#setAddress(address)
    // Node calls this for a path that other users may read or write; the parent has already set the permissions.
    if ('path' in address) Reflect.set(this.#listener, 'fchmod', () => 0)
    this.#server.once('listening', this.#ready)
  }

  /** Takes connections from now on. */
  #begin(): void {
    if (this.#state !== 'starting') return
    this.#state = 'listening'
    this.#hooks.ready()
  }

  /** Sets the result of address(): as in `net`, the path of a Unix socket, else what the handle's getsockname() reports. */
  #setAddress(address: ListenAddress): void {
    this.#address = address
    const path = 'path' in address ? address.path : undefined
    Reflect.set(this.#server, '_pipeName', path)
    Reflect.set(this.#listener, 'getsockname', path === undefined ? this.#getsockname : undefined)
  }

  readonly #getsockname = (out: object): number => {
    Object.assign(out, this.#address)
    return 0
  }

  /** Returns a handle on which a server can listen without a port. */
  #fakeListener(handle: StreamHandle): StreamHandle {
    const close = handle.close.bind(handle)
    let isReferenced = true
    return Object.assign(handle, {
      listen: () => {
        // Any other call comes from an earlier `listen(port, host)` of the application, after its host lookup.
        if (!this.#isOpening) process.nextTick(() => this.#server.emit('error', serverAlreadyListens()))
        return 0
      },
      // address() returns null until the address is known.
      getsockname: undefined,
      close: (callback?: () => void) => {
        this.#state = 'closed'
        // If the server listens again, it does so for other connections.
        this.#server.off('listening', this.#ready)
        this.#hooks.stopped()
        close(callback)
      },
      hasRef: () => isReferenced && this.#state !== 'closed',
      ref: () => {
        isReferenced = true
        this.#hooks.ref()
      },
      unref: () => {
        isReferenced = false
        this.#hooks.unref()
      },
    })
  }

  /** Sets the port of the address to the port of a connection, if the worker has received no address of a listener. */
  #learnPort(port: number | undefined): void {
    const address = this.#address
    if (port === undefined || address === undefined || 'path' in address || address.port !== 0) return
    this.#address = { ...address, port }
  }

  /** Calls the callback that Node calls for an accepted connection. */
  #onConnection(handle: StreamHandle): void {
    const onconnection: unknown = Reflect.get(this.#listener, 'onconnection')
    if (typeof onconnection === 'function') Reflect.apply(onconnection, this.#listener, [0, handle])
    else handle.close()
  }

  #watchConnections(): void {
    this.#server.off('connection', this.#onSocket)
    this.#server.prependListener('connection', this.#onSocket)
  }

  readonly #ready = (): void => {
    // A program that looks for a free port closes its server when it listens. Such a server must get no connection.
    if (this.#isOpenedByNode) setImmediate(() => this.#begin())
    else this.#begin()
  }

  readonly #onSocket = (socket: Socket): void => {
    if (this.#receiving === undefined) return
    this.#socket = socket
    rememberPeer(socket, this.#receiving)
    this.#receiving = undefined
  }
}
