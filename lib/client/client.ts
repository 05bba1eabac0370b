// Runs in a WORKER. The parent's counterparts are server/server.ts and server/worker/worker-handle.ts.

import { EventEmitter } from 'node:events'
import type { Server as NetServer } from 'node:net'
import { debug } from '../diagnostics.js'
import { hasCode, SocketServerError } from '../errors.js'
import { KeepAlive } from '../keep-alive.js'
import type { ReceiverPhase } from '../native.js'
import { report } from '../report-error.js'
import type { Channel } from './channel/channel.js'
import type { ServerLink } from './channel/server-link.js'
import { type Session, Sessions } from './channel/sessions.js'
import {
  type AcceptOptions,
  concurrency,
  parseAcceptOptions,
  parseServeOptions,
  type ServeOptions,
} from './client-options.js'
import type { Connection } from './connection/connection.js'
import { Delivery } from './delivery.js'
import type { ClientEvents, JoinedInfo } from './events.js'
import { closedError, type DrainInfo, lostError, retiredError } from './lifecycle/close-errors.js'
import { handlesShutdown } from './lifecycle/parent-signals.js'
import { serveOn } from './serve/serve.js'
import type { ServedServer, ServeHooks } from './serve/served-server.js'

/**
 * The worker's side: takes connections from the server that started this process, or whose shared path it joined. Created by
 * {@link connect}. The client keeps the process alive until it has closed. A client of the parent closes by itself when the parent
 * retires this worker or dies; a client with a path joins the next server.
 */
export class Client extends EventEmitter<ClientEvents> {
  readonly #link: ServerLink
  readonly #sessions: Sessions
  readonly #delivery = new Delivery(this, () => this.#sessions.pumpSoon())
  readonly #keepAlive = new KeepAlive()
  #state: 'open' | 'closing' | 'closed' = 'open'
  /** Creates the error of calls after the last connection. */
  #closeError: () => SocketServerError = closedError
  /** Whether the served server has closed and no other consumer takes connections: then this client closes within this turn. */
  #isStopping = false
  #hasDrained = false
  /** Whether the server has announced a drain. */
  #drainsSoon = false
  #settleClosed: () => void = () => {}
  readonly #closed = new Promise<void>((resolve) => {
    this.#settleClosed = resolve
  })

  /** @internal */
  constructor(link: ServerLink, port: number) {
    super()
    this.#link = link
    this.#sessions = new Sessions(port, {
      demand: () => this.#delivery.demand,
      receive: (connection, session) => this.#delivery.deliver(connection, session),
      leaseEnded: () => this.#closeIfDone(),
      exhausted: (session, phase) => this.#exhausted(session, phase),
      phaseChanged: (session, phase) => this.#phaseChanged(session, phase),
      listenersChanged: (session) => this.#openServed(session),
    })
    this.#keepAlive.hold()
  }

  /** @internal Takes connections from this channel from now on. */
  attach(channel: Channel): void {
    if (this.#state === 'open') this.#sessions.add(channel)
  }

  /** @internal Reports that the server at the shared path has sent WELCOME. */
  joined(info: JoinedInfo): void {
    if (this.#hasDrained || this.#drainsSoon) this.#delivery.served?.resume()
    this.#hasDrained = false
    this.#drainsSoon = false
    this.emit('joined', info)
  }

  /** @internal Closes the client: there will be no server to join. Pending calls reject with the error. */
  fail(error: SocketServerError): void {
    if (this.#state !== 'open') return
    report(this, error)
    this.#finish(() => new SocketServerError(error.code, error.message, { ...error, cause: error.cause }))
  }

  /** The connections that this client holds now. */
  get leases(): number {
    return this.#sessions.leases
  }

  /** The most leases, 1 to 4294967295 or Infinity. Default Infinity. A lower value does not end existing leases. */
  get concurrency(): number {
    return this.#sessions.concurrency
  }

  set concurrency(limit: number) {
    this.#sessions.concurrency = concurrency('concurrency', limit)
  }

  /** @internal */
  get isClosing(): boolean {
    return this.#state !== 'open' || this.#isStopping
  }

  /**
   * Takes one connection. Pending calls are served in order. The lease ends when the socket closes, or when the handler has ended
   * the socket.
   *
   * Rejects with an AbortError; with ERR_SOCKETSERVER_CLOSED once this client is closed or the server has retired this worker; and
   * with ERR_SOCKETSERVER_CONNECTION_LOST once the server has died. With a path the call waits for the next server instead, and
   * rejects with ERR_SOCKETSERVER_REFUSED, or the system's code, if there will be none.
   */
  async accept(options: AcceptOptions = {}): Promise<Connection> {
    const signal = parseAcceptOptions(options)
    if (this.#state !== 'open') throw this.#closeError()
    return this.#delivery.accept(signal)
  }

  /**
   * Takes one connection after the other: asks for the next when the loop body has ended. The loop ends when the client is closed,
   * or its server has retired this worker or died.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Connection, void, undefined> {
    for (;;) {
      let connection: Connection
      try {
        connection = await this.accept()
      } catch (error) {
        if (hasCode(error, 'ERR_SOCKETSERVER_CLOSED') || hasCode(error, 'ERR_SOCKETSERVER_CONNECTION_LOST')) return
        throw error
      }
      yield connection
    }
  }

  /**
   * Passes connections to a server of net, http, https, tls or http2, which behaves as if it were listening at the address of the
   * parent's listener. It emits `listening` as soon as that address is known. While the client serves, it emits no `connection`
   * event. `server.close()` ends this, and closes the client unless something else takes connections.
   *
   * Throws ERR_SERVER_ALREADY_LISTEN if the server listens itself, ERR_SOCKETSERVER_ALREADY_SERVING if this client serves another
   * server, and ERR_SOCKETSERVER_CLOSED. If Node's servers cannot listen on handles, the client emits
   * ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME and closes.
   */
  serve(server: NetServer, options: ServeOptions = {}): this {
    const limit = parseServeOptions(options)
    if (this.#state !== 'open') throw this.#closeError()
    if (this.#delivery.served !== undefined) {
      throw new SocketServerError(
        'ERR_SOCKETSERVER_ALREADY_SERVING',
        'This client already serves a server: connect({ port }) creates one client per port',
      )
    }
    this.serveWith((hooks) => serveOn(server, hooks))
    if (limit !== undefined) this.concurrency = limit
    const { latest } = this.#sessions
    if (latest !== undefined) this.#openServed(latest)
    return this
  }

  /** @internal Gives the connections to the server that `start` returns. */
  serveWith(start: (hooks: ServeHooks) => ServedServer): void {
    this.#delivery.served = start({
      ticketKeys: () => this.#sessions.latest?.lane.ticketKeys,
      ready: () => this.#delivery.update(),
      stopped: () => this.#servedStopped(),
      ref: () => void this.ref(),
      unref: () => void this.unref(),
    })
    if (this.#drainsSoon) this.#delivery.served.announceDrain()
  }

  /**
   * Reports that this worker is ready, in a pool with `ready: 'manual'`. Only then connections arrive. Otherwise the worker is ready
   * once it has connected, and this call does nothing.
   */
  ready(): this {
    this.#link.ready()
    return this
  }

  /** Takes no more connections, finishes the leases, then disconnects. Every call returns the same promise. */
  close(): Promise<void> {
    this.#finish(closedError)
    return this.#closed
  }

  /** Closes the client at the end of an `await using` block. The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Makes the client keep the process alive, which is the default. */
  ref(): this {
    this.#keepAlive.ref()
    return this
  }

  /** Lets the process exit while this client is open. */
  unref(): this {
    this.#keepAlive.unref()
    return this
  }

  /** Makes the served server listen once the address of its listener is known. */
  #openServed({ lane }: Session): void {
    const { address } = lane
    if (address === undefined) return
    try {
      this.#delivery.served?.open(address)
    } catch (error) {
      if (error instanceof SocketServerError) this.fail(error)
      else throw error
    }
  }

  #phaseChanged(session: Session, { phase, reason }: ReceiverPhase): void {
    debug('the channel to the server is %s%s', phase, reason === undefined ? '' : `: ${reason}`)
    if (phase === 'draining-soon') {
      this.#drainsSoon = true
      this.#delivery.served?.announceDrain()
    }
    if (phase === 'draining') this.#drain({ reason: 'server', timeout: undefined })
    if (phase === 'retired') {
      this.#drain({ reason: 'retired', timeout: this.#drainTimeout })
      if (this.#link.rejoins) this.#sessions.leave(session)
      else this.#finish(retiredError)
    }
    if (phase === 'ended' && !this.#link.rejoins) this.#ended(reason)
  }

  /** Drains after the end of the parent's channel. The parent no longer enforces `drainTimeout`, so the client does. */
  #ended(reason: ReceiverPhase['reason']): void {
    if (this.#state === 'closed' || reason === 'left') return
    // The parent ends a channel when the time for its leases is up.
    if (reason === 'closed') this.#sessions.endLeases()
    else if (this.#drainTimeout !== undefined) setTimeout(() => this.#expire(), this.#drainTimeout).unref()
    this.#drain({ reason: reason === 'eof' ? 'lost' : 'retired', timeout: this.#drainTimeout })
  }

  #expire(): void {
    this.#finish(lostError)
    this.#sessions.endLeases()
  }

  /** Finishes after the end of a channel whose connections have all been delivered. */
  #exhausted(session: Session, { reason, message }: ReceiverPhase): void {
    if (this.#link.rejoins) {
      this.#sessions.leave(session)
      return
    }
    if (this.#state !== 'open') return
    if (reason === 'protocol' || reason === 'refused') {
      report(this, new SocketServerError('ERR_SOCKETSERVER_PROTOCOL', message ?? `The channel has ended: ${reason}`))
    }
    this.#finish(lostError)
  }

  /** Whether this process should exit, because its parent has retired this worker or died. */
  get #isExiting(): boolean {
    return !this.#link.rejoins && (this.#closeError === retiredError || this.#closeError === lostError)
  }

  get #drainTimeout(): number | undefined {
    const { drainTimeout } = this.#link.settings
    return drainTimeout === 0 ? undefined : drainTimeout
  }

  #drain(info: DrainInfo): void {
    this.#delivery.served?.drain()
    if (this.#hasDrained) return
    this.#hasDrained = true
    this.emit('drain', info)
  }

  #servedStopped(): void {
    this.#isStopping = !this.#delivery.hasOtherConsumers
    // Not now: further connections of the same exchange must still reach the server.
    queueMicrotask(() => {
      if (this.#state !== 'open') return
      this.#delivery.served?.end()
      this.#delivery.served = undefined
      this.#isStopping = false
      if (this.#delivery.demand === 0) void this.close()
    })
  }

  #finish(createError: () => SocketServerError): void {
    if (this.#state !== 'open') return
    this.#state = 'closing'
    this.#closeError = createError
    this.#delivery.stop(createError)
    this.#sessions.stop()
    // From here on only the sockets keep the process alive, as in any Node program. A paused socket, or one that waits for
    // nothing, does not.
    this.#keepAlive.release()
    this.#link.left(this.#sessions.port)
    // The application's shutdown handler closes its server after the drain, and must find the server open.
    this.#delivery.served?.finish({ close: !this.#isExiting || !handlesShutdown() })
    this.#delivery.discardSurplus()
    this.#closeIfDone()
  }

  #closeIfDone(): void {
    if (this.#state !== 'closing' || this.#sessions.leases > 0) return
    this.#state = 'closed'
    this.#sessions.close()
    this.#delivery.served?.end()
    process.nextTick(() => {
      this.#settleClosed()
      this.emit('close')
    })
  }
}
