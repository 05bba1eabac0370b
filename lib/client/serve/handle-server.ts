import type { Server, Socket } from 'node:net'
import type { ListenAddress } from '../../address.js'
import { hasCode, serverAlreadyListens } from '../../errors.js'
import { closeConnection, openHandle, rememberPeer } from '../connection/adopt-socket.js'
import type { ReceivedConnection } from '../connection/received-connection.js'
import { LISTENING, type StreamHandle, tcpConstructor, unsupportedRuntime } from '../connection/stream-handle.js'
import { uncaught } from '../lifecycle/uncaught.js'
import { ServedDrain } from './served-drain.js'
import type { ServedServer, ServeHooks } from './served-server.js'

/**
 * A server that listens on a fake handle: a TCP handle that was never opened and whose `listen` does nothing. For each connection
 * this class calls the callback that Node calls for an accepted connection. So Node's own code handles maxConnections, noDelay,
 * keepAlive, allowHalfOpen, getConnections(), close() and the timeouts of http.
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
  /** The socket that the server created for `#receiving`. */
  #socket: Socket | undefined

  /** Makes `server` listen. Throws ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME if this process cannot create handles. */
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
    this.#listener = this.#fakeListener(handle)
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
    this.#server.off('connection', this.#onSocket)
  }

  /** Closes the server, unless it has closed this handle: it may listen elsewhere by now. */
  #close(): void {
    if (this.#state !== 'closed' && this.#server.listening) this.#server.close()
  }

  #listen(): void {
    if ('path' in this.#address) {
      // As in `net`: address() of a Unix socket is the path that was passed to listen().
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

  /** Returns a handle on which a server can listen without a port. */
  #fakeListener(handle: StreamHandle): StreamHandle {
    const close = handle.close.bind(handle)
    return Object.assign(handle, {
      listen: () => {
        // A second call comes from an earlier `listen(port, host)` of the application, after its host lookup.
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
        // If the server listens again, it does so for other connections.
        this.#server.off('listening', this.#ready)
        this.#hooks.stopped()
        close(callback)
      },
      ref: this.#hooks.ref,
      unref: this.#hooks.unref,
    })
  }

  /** Completes the address of a worker that knows no listener with the port of a connection. */
  #learnPort(port: number | undefined): void {
    if (port === undefined || 'path' in this.#address || this.#address.port !== 0) return
    this.#address = { ...this.#address, port }
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
    this.#state = 'listening'
    this.#hooks.ready()
  }

  readonly #onSocket = (socket: Socket): void => {
    if (this.#receiving === undefined) return
    this.#socket = socket
    rememberPeer(socket, this.#receiving)
    this.#receiving = undefined
  }
}

/** Returns the address of the served port's listener, or of the first one: a server of `net` has one address. */
function addressOf({ port, listeners }: ServeHooks): ListenAddress {
  const served = listeners.find((listener) => port === 0 || ('port' in listener && listener.port === port))
  return served ?? { address: '::', family: 'IPv6', port }
}
