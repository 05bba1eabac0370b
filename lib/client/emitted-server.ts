import type { Server, Socket } from 'node:net'
import { serverAlreadyListens, serverNotRunning } from '../errors.js'
import type { Adopter, SocketOptions } from './adopt-socket.js'
import type { ReceivedConnection } from './received-connection.js'
import type { ServedServer, ServeHooks } from './serve.js'
import { canCloseIdle, ServedDrain } from './served-drain.js'
import { uncaught } from './uncaught.js'

/**
 * A server that gets its connections by its documented `connection` event. It never listens as far as Node knows, so
 * `listening` is emitted for it (http sets up its timeouts then, and must before the first connection), connections are
 * counted here, and what tells of them is replaced on this one server.
 */
export class EmittedServer implements ServedServer {
  readonly #server: Server
  readonly #adopter: Adopter
  readonly #hooks: ServeHooks
  readonly #drain: ServedDrain
  readonly #sockets = new Set<Socket>()
  readonly #closeByNode: Server['close']
  readonly #listenByNode: Server['listen']
  #state: 'starting' | 'listening' | 'closing' | 'closed' = 'starting'
  #port: number

  constructor(server: Server, adopter: Adopter, hooks: ServeHooks) {
    this.#server = server
    this.#adopter = adopter
    this.#hooks = hooks
    this.#port = hooks.port
    this.#closeByNode = server.close
    this.#listenByNode = server.listen
    this.#replace()
    this.#drain = new ServedDrain(server)
    process.nextTick(() => this.#start())
  }

  get demand(): number {
    return this.#state === 'listening' ? Number.POSITIVE_INFINITY : 0
  }

  receive(connection: ReceivedConnection): Socket | undefined {
    const settings = socketSettings(this.#server)
    const socket = this.#adopter.adopt(connection, settings)
    this.#port = connection.localPort ?? this.#port
    if (this.#drops(socket)) return undefined
    if (settings.noDelay) socket.setNoDelay(true)
    if (settings.keepAlive) socket.setKeepAlive(true, settings.keepAliveInitialDelay * 1000)
    this.#sockets.add(socket)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      this.#closeIfDone()
    })
    uncaught(() => this.#server.emit('connection', socket))
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
  }

  #start(): void {
    if (this.#state !== 'starting') return
    this.#state = 'listening'
    this.#server.emit('listening')
    this.#hooks.ready()
  }

  #replace(): void {
    const isOpen = (): boolean => this.#state === 'starting' || this.#state === 'listening'
    const replaced: Record<string, PropertyDescriptor> = {
      listening: { get: isOpen },
      address: { value: () => (isOpen() ? { address: '::', family: 'IPv6', port: this.#port } : null) },
      listen: { value: (...args: unknown[]) => this.#listen(args) },
      close: { value: (callback?: (error?: Error) => void) => this.#close(callback) },
      getConnections: {
        value: (callback: (error: Error | null, count: number) => void) => {
          process.nextTick(() => callback(null, this.#sockets.size))
          return this.#server
        },
      },
      ref: { value: () => this.#reference(this.#hooks.ref) },
      unref: { value: () => this.#reference(this.#hooks.unref) },
    }
    for (const [name, descriptor] of Object.entries(replaced)) {
      Object.defineProperty(this.#server, name, { ...descriptor, configurable: true })
    }
  }

  #listen(args: unknown[]): unknown {
    if (this.#server.listening) throw serverAlreadyListens()
    return Reflect.apply(this.#listenByNode, this.#server, args)
  }

  #restore(): void {
    for (const name of REPLACED) Reflect.deleteProperty(this.#server, name)
  }

  #reference(change: () => void): Server {
    change()
    return this.#server
  }

  #close(callback?: (error?: Error) => void): Server {
    if (this.#state === 'closing') {
      if (callback) this.#server.once('close', () => callback(serverNotRunning()))
      return this.#server
    }
    if (callback) this.#server.once('close', () => callback())
    this.#state = 'closing'
    this.#hooks.stopped()
    if (canCloseIdle(this.#server)) this.#server.closeIdleConnections()
    this.#closeIfDone()
    return this.#server
  }

  #closeIfDone(): void {
    if (this.#state !== 'closing' || this.#sockets.size > 0) return
    this.#state = 'closed'
    this.#restore()
    // Node's own emits 'close' at once, as it has counted no connection, and lets http stop its timers.
    Reflect.apply(this.#closeByNode, this.#server, [])
  }

  #drops(socket: Socket): boolean {
    const { maxConnections } = this.#server
    if (typeof maxConnections !== 'number' || this.#sockets.size < maxConnections) return false
    const { localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily } = socket
    const dropped = { localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily }
    socket.destroy()
    this.#server.emit('drop', dropped)
    return true
  }
}

/** What a `net.Server` was created with; it keeps these as properties, which are not documented. */
function socketSettings(server: Server): SocketOptions & TcpSettings {
  return {
    allowHalfOpen: Reflect.get(server, 'allowHalfOpen') === true,
    pauseOnCreate: Reflect.get(server, 'pauseOnConnect') === true,
    noDelay: Reflect.get(server, 'noDelay') === true,
    keepAlive: Reflect.get(server, 'keepAlive') === true,
    keepAliveInitialDelay: Number(Reflect.get(server, 'keepAliveInitialDelay') ?? 0),
  }
}

interface TcpSettings {
  noDelay: boolean
  keepAlive: boolean
  /** Seconds. */
  keepAliveInitialDelay: number
}

const REPLACED = ['listening', 'address', 'listen', 'close', 'getConnections', 'ref', 'unref']
