import type { Server, Socket } from 'node:net'
import { hasCode } from '../errors.js'
import { type Adopter, rememberPeer } from './adopt-socket.js'
import type { ReceivedConnection } from './received-connection.js'
import type { ServedServer, ServeHooks } from './serve.js'
import { ServedDrain } from './served-drain.js'
import { LISTENING, type StreamHandle, tcpConstructor } from './stream-handle.js'
import { uncaught } from './uncaught.js'

/**
 * A server that listens on a handle of our making. It is a TCP handle that was never opened, and whose `listen` does
 * nothing; for each connection we call what Node would call when one is accepted. So all that Node does for a connection
 * it does here: maxConnections, noDelay, keepAlive, allowHalfOpen, getConnections(), close(), http's timeouts.
 */
export class HandleServer implements ServedServer {
  readonly #server: Server
  readonly #open: (connection: ReceivedConnection) => StreamHandle
  readonly #hooks: ServeHooks
  readonly #drain: ServedDrain
  readonly #listener: StreamHandle
  #state: 'starting' | 'listening' | 'closed' = 'starting'
  #port: number
  #receiving: ReceivedConnection | undefined
  #seen: Socket | undefined

  /** Undefined where this Node's handles are not what is expected; then the server is untouched. */
  static listen(server: Server, adopter: Adopter, hooks: ServeHooks): HandleServer | undefined {
    const Handle = tcpConstructor()
    if (Handle === undefined || adopter.open === undefined) return undefined
    const served = new HandleServer(server, new Handle(LISTENING), adopter.open, hooks)
    return served.#listen() ? served : undefined
  }

  private constructor(server: Server, handle: StreamHandle, open: NonNullable<Adopter['open']>, hooks: ServeHooks) {
    this.#server = server
    this.#open = open
    this.#hooks = hooks
    this.#port = hooks.port
    this.#listener = this.#pretendToListen(handle)
    this.#drain = new ServedDrain(server)
  }

  get demand(): number {
    return this.#state === 'listening' ? Number.POSITIVE_INFINITY : 0
  }

  receive(connection: ReceivedConnection): Socket | undefined {
    const handle = this.#open(connection)
    this.#port = connection.localPort ?? this.#port
    this.#receiving = connection
    uncaught(() => this.#onConnection(handle))
    const socket = this.#seen
    this.#receiving = undefined
    this.#seen = undefined
    // Dropped, by maxConnections or a block list; or somebody has removed all listeners, and ours.
    if (socket === undefined) this.#watchConnections()
    return socket
  }

  drain(): void {
    this.#drain.begin()
  }

  resume(): void {
    this.#drain.resume()
  }

  finish(): void {
    this.#drain.finish()
  }

  end(): void {
    this.#drain.end()
    this.#server.off('connection', this.#see)
  }

  #listen(): boolean {
    const ready = (): void => {
      this.#state = 'listening'
      this.#hooks.ready()
    }
    this.#server.once('listening', ready)
    try {
      this.#server.listen(this.#listener)
    } catch (error) {
      this.#server.off('listening', ready)
      if (hasCode(error, 'ERR_INVALID_ARG_VALUE')) return false
      throw error
    }
    this.#watchConnections()
    return true
  }

  /** Makes a handle that a server can listen on without a port. */
  #pretendToListen(handle: StreamHandle): StreamHandle {
    const close = handle.close.bind(handle)
    return Object.assign(handle, {
      listen: () => 0,
      getsockname: (out: object) => {
        // The listener is the parent's, and may be several: what is known here is the port.
        Object.assign(out, { address: '::', family: 'IPv6', port: this.#port })
        return 0
      },
      close: (callback?: () => void) => {
        this.#state = 'closed'
        this.#hooks.stopped()
        close(callback)
      },
      ref: this.#hooks.ref,
      unref: this.#hooks.unref,
    })
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

  readonly #see = (socket: Socket): void => {
    if (this.#receiving === undefined) return
    this.#seen = socket
    rememberPeer(socket, this.#receiving)
    this.#receiving = undefined
  }
}
