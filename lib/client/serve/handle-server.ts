import type { Server, Socket } from 'node:net'
import type { ListenAddress } from '../../address.js'
import { hasCode, serverAlreadyListens } from '../../errors.js'
import { closeConnection, openHandle, rememberPeer } from '../connection/adopt-socket.js'
import type { ReceivedConnection } from '../connection/received-connection.js'
import { LISTENING, type StreamHandle, tcpConstructor, unsupportedRuntime } from '../connection/stream-handle.js'
import { uncaught } from '../lifecycle/uncaught.js'
import type { ServedServer, ServeHooks } from './serve.js'
import { ServedDrain } from './served-drain.js'

/**
 * A server that listens on a handle of our making. It is a TCP handle that was never opened, and whose `listen` does
 * nothing; for each connection we call what Node would call when one is accepted. So all that Node does for a connection
 * it does here: maxConnections, noDelay, keepAlive, allowHalfOpen, getConnections(), close(), http's timeouts.
 */
export class HandleServer implements ServedServer {
  readonly #server: Server
  readonly #hooks: ServeHooks
  readonly #drain: ServedDrain
  readonly #listener: StreamHandle
  #state: 'starting' | 'listening' | 'closed' = 'starting'
  #hasListened = false
  #address: ListenAddress
  #receiving: ReceivedConnection | undefined
  #seen: Socket | undefined

  /** Throws ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME where this process has no such handles. */
  static listen(server: Server, hooks: ServeHooks): HandleServer {
    const Handle = tcpConstructor()
    const served = new HandleServer(server, new Handle(LISTENING), hooks)
    served.#listen()
    return served
  }

  private constructor(server: Server, handle: StreamHandle, hooks: ServeHooks) {
    this.#server = server
    this.#hooks = hooks
    this.#address = addressOf(hooks)
    this.#listener = this.#pretendToListen(handle)
    this.#drain = new ServedDrain(server, () => this.#close())
  }

  get demand(): number {
    return this.#state === 'listening' ? Number.POSITIVE_INFINITY : 0
  }

  receive(connection: ReceivedConnection): Socket | undefined {
    const handle = openHandle(connection)
    this.#learnPort(connection.localPort)
    this.#receiving = connection
    const hasThrown = uncaught(() => this.#onConnection(handle))
    const socket = this.#seen
    this.#receiving = undefined
    this.#seen = undefined
    if (socket !== undefined) return socket
    // Thrown before there was a socket, so that nobody would ever close the connection.
    if (hasThrown) closeConnection(connection)
    // Or dropped, by maxConnections or a block list; or somebody has removed all listeners, and ours.
    this.#watchConnections()
    return undefined
  }

  closed(socket: Socket): void {
    this.#drain.forget(socket)
  }

  drain(): void {
    this.#drain.begin()
  }

  resume(): void {
    this.#drain.resume()
  }

  finish(options: { close: boolean }): void {
    this.#drain.finish(options)
  }

  end(): void {
    this.#drain.end()
    this.#server.off('connection', this.#see)
  }

  /** Closes the server, unless it has been closed: it may listen anew by then, to somebody else. */
  #close(): void {
    if (this.#state !== 'closed' && this.#server.listening) this.#server.close()
  }

  #listen(): void {
    if ('path' in this.#address) {
      // As `net` does for a Unix socket: address() is the path, and not what the handle says.
      Reflect.set(this.#listener, 'getsockname', undefined)
      Reflect.set(this.#server, '_pipeName', this.#address.path)
    }
    this.#server.once('listening', this.#ready)
    try {
      this.#server.listen(this.#listener)
    } catch (error) {
      this.#server.off('listening', this.#ready)
      if (hasCode(error, 'ERR_INVALID_ARG_VALUE')) throw unsupportedRuntime(error)
      throw error
    }
    this.#watchConnections()
  }

  /** Makes a handle that a server can listen on without a port. */
  #pretendToListen(handle: StreamHandle): StreamHandle {
    const close = handle.close.bind(handle)
    return Object.assign(handle, {
      listen: () => {
        // An earlier `listen(port, host)` of the application comes here when its host name is resolved, and not before.
        if (this.#hasListened) process.nextTick(() => this.#server.emit('error', serverAlreadyListens()))
        this.#hasListened = true
        return 0
      },
      getsockname: (out: object) => {
        Object.assign(out, this.#address)
        return 0
      },
      close: (callback?: () => void) => {
        this.#state = 'closed'
        // Should the server listen again, it is not for these connections.
        this.#server.off('listening', this.#ready)
        this.#hooks.stopped()
        close(callback)
      },
      ref: this.#hooks.ref,
      unref: this.#hooks.unref,
    })
  }

  /** A worker that was told of no listener learns the port, at least, from a connection. */
  #learnPort(port: number | undefined): void {
    if (port === undefined || 'path' in this.#address || this.#address.port !== 0) return
    this.#address = { ...this.#address, port }
  }

  /** What libuv has Node do for an accepted connection. */
  #onConnection(handle: StreamHandle): void {
    const onconnection: unknown = Reflect.get(this.#listener, 'onconnection')
    if (typeof onconnection === 'function') Reflect.apply(onconnection, this.#listener, [0, handle])
    else handle.close()
  }

  #watchConnections(): void {
    this.#server.off('connection', this.#see)
    this.#server.prependListener('connection', this.#see)
  }

  readonly #ready = (): void => {
    this.#state = 'listening'
    this.#hooks.ready()
  }

  readonly #see = (socket: Socket): void => {
    if (this.#receiving === undefined) return
    this.#seen = socket
    rememberPeer(socket, this.#receiving)
    this.#receiving = undefined
  }
}

/** The listener of the port that is served, or the first one: a server of `net` has one address. */
function addressOf({ port, listeners }: ServeHooks): ListenAddress {
  const served = listeners.find((listener) => port === 0 || ('port' in listener && listener.port === port))
  return served ?? { address: '::', family: 'IPv6', port }
}
