// Runs in a WORKER. The parent's counterparts are server/server.ts and server/worker/worker-handle.ts.

import { EventEmitter } from 'node:events'
import type { Server as NetServer } from 'node:net'
import { debug } from '../diagnostics.js'
import { hasCode, SocketServerError } from '../errors.js'
import { KeepAlive } from '../keep-alive.js'
import type { ReceiverPhase } from '../native.js'
import { report } from '../report-error.js'
import { Waiters } from '../waiters.js'
import type { Channel } from './channel/channel.js'
import type { JoinedInfo, ServerLink } from './channel/server-link.js'
import { type Session, Sessions } from './channel/sessions.js'
import {
  type AcceptOptions,
  concurrency,
  parseAcceptOptions,
  parseServeOptions,
  type ServeOptions,
} from './client-options.js'
import { adoptSocket } from './connection/adopt-socket.js'
import { type Connection, HeldConnection } from './connection/connection.js'
import { ConnectionListeners } from './connection/connection-listeners.js'
import type { ReceivedConnection } from './connection/received-connection.js'
import type { ClientEvents } from './events.js'
import { ClientContext } from './lifecycle/client-context.js'
import { closedError, type DrainInfo, lostError, retiredError } from './lifecycle/close-errors.js'
import { handlesShutdown } from './lifecycle/parent-signals.js'
import { uncaught } from './lifecycle/uncaught.js'
import { type ServedServer, serveOn } from './serve/serve.js'

/**
 * A worker's side: takes connections from the server that started this process, or that it has joined. Made by
 * {@link connect}. It keeps the process alive until it has closed. If a server started the process it closes by itself when that
 * retires this worker or has died; one that joins by itself goes on, and joins again.
 */
export class Client extends EventEmitter<ClientEvents> {
  readonly #link: ServerLink
  readonly #sessions: Sessions
  readonly #keepAlive = new KeepAlive()
  readonly #context = new ClientContext()
  readonly #accepts = new Waiters<undefined, Connection>(() => this.#sessions.pumpSoon())
  /** Taken for a listener that left before its turn came; they go to whoever asks next. */
  readonly #surplus: [ReceivedConnection, Session][] = []
  #state: 'open' | 'closing' | 'closed' = 'open'
  /** Why there are no more connections, once that is so. */
  #ending: () => SocketServerError = closedError
  #served: ServedServer | undefined
  /** Its served server has closed and nothing else waits for connections: this client closes within this turn. */
  #isStopping = false
  #hasDrained = false
  readonly #listeners = new ConnectionListeners(this, () => this.#wantMore())
  #settleClosed: () => void = () => {}
  readonly #closed = new Promise<void>((resolve) => {
    this.#settleClosed = resolve
  })

  /** @internal */
  constructor(link: ServerLink, port: number) {
    super()
    this.#link = link
    this.#sessions = new Sessions(port, {
      demand: () => this.#demand(),
      receive: (connection, session) => this.#receive(connection, session),
      leaseOver: () => this.#closeIfDone(),
      exhausted: (session, phase) => this.#exhausted(session, phase),
      phaseChanged: (session, phase) => this.#phaseChanged(session, phase),
    })
    this.#keepAlive.hold()
  }

  /** @internal Takes connections from this channel from now on. */
  attach(channel: Channel): void {
    if (this.#state === 'open') this.#sessions.add(channel)
  }

  /** @internal The server that it has joined has welcomed it. */
  joined(info: JoinedInfo): void {
    if (this.#hasDrained) this.#served?.resume()
    this.#hasDrained = false
    this.emit('joined', info)
  }

  /** @internal There is no server to join, for good: what waits is told why. */
  fail(error: SocketServerError): void {
    if (this.#state !== 'open') return
    report(this, error)
    this.#finish(() => new SocketServerError(error.code, error.message, { ...error, cause: error.cause }))
  }

  /** Connections this client holds now. */
  get leases(): number {
    return this.#sessions.leases
  }

  /** The most leases it may have, 1 to 4294967295, or Infinity, the default. What it holds already is not affected. */
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
   * Takes one connection; several calls wait in order. Its lease ends when the socket closes, or has been ended by the
   * handler. Rejects with an AbortError, with ERR_SOCKETSERVER_CLOSED once this client is closed or the server has retired
   * this worker, or with ERR_SOCKETSERVER_CONNECTION_LOST once the server has died. One that joins a server by itself waits for
   * the next instead, and rejects with ERR_SOCKETSERVER_REFUSED, or the system's code, if there will be none.
   */
  async accept(options: AcceptOptions = {}): Promise<Connection> {
    const signal = parseAcceptOptions(options)
    if (this.#state !== 'open') throw this.#ending()
    const accepted = this.#accepts.wait(undefined, signal)
    this.#wantMore()
    return accepted
  }

  /** One connection at a time: the next is asked for when the body ends. Done when `accept()` would reject. */
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
   * Gives the connections to a server of net, http, https, tls or http2, which then is listening, as far as it can tell.
   * While it is served there is no `connection` event. Its `close()` stops that, and closes this client unless
   * something else waits for connections. Throws ERR_SERVER_ALREADY_LISTEN if it listens by itself,
   * ERR_SOCKETSERVER_ALREADY_SERVING if this client serves another, and ERR_SOCKETSERVER_CLOSED.
   */
  serve(server: NetServer, options: ServeOptions = {}): this {
    const limit = parseServeOptions(options)
    if (this.#state !== 'open') throw this.#ending()
    if (this.#served !== undefined) {
      throw new SocketServerError(
        'ERR_SOCKETSERVER_ALREADY_SERVING',
        'This client serves a server already: connect({ port }) makes a client for each',
      )
    }
    this.#served = serveOn(server, {
      port: this.#sessions.port,
      listeners: this.#link.settings.listeners,
      ready: () => this.#wantMore(),
      stopped: () => this.#servedStopped(),
      ref: () => void this.ref(),
      unref: () => void this.unref(),
    })
    if (limit !== undefined) this.concurrency = limit
    return this
  }

  /**
   * Says that this worker is ready, where its pool was started with `ready: 'manual'`: only then connections come.
   * Otherwise connecting has said so, and this does nothing.
   */
  ready(): this {
    this.#link.ready()
    return this
  }

  /** Takes nothing more, finishes its leases, then leaves. Every call returns the same promise. */
  close(): Promise<void> {
    this.#finish(closedError)
    return this.#closed
  }

  /** Closes the client at the end of an `await using` block. The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Has the client keep the process alive, as it does from the start. */
  ref(): this {
    this.#keepAlive.ref()
    return this
  }

  /** Lets the process exit although this client is open. */
  unref(): this {
    this.#keepAlive.unref()
    return this
  }

  /** How many connections somebody waits for. */
  #demand(): number {
    if (this.#state !== 'open') return 0
    return this.#accepts.length + (this.#served?.demand ?? this.#listeners.demand)
  }

  #wantMore(): void {
    while (this.#surplus.length > 0 && this.#demand() > 0) {
      for (const [connection, session] of this.#surplus.splice(0, 1)) this.#receive(connection, session)
    }
    this.#sessions.pumpSoon()
  }

  #receive(connection: ReceivedConnection, session: Session): void {
    try {
      this.#context.run(() => this.#pass(connection, session))
    } catch (error) {
      session.giveUp(connection)
      // Not here: connections that came along still wait in line, and a listener may throw.
      process.nextTick(() => report(this, error instanceof Error ? error : new Error(String(error))))
    }
  }

  /** Gives a connection to who is next. Throws if no socket could be made of it. */
  #pass(connection: ReceivedConnection, session: Session): void {
    const { leases } = session
    const accepting = this.#accepts.first
    if (accepting !== undefined) {
      const socket = adoptSocket(connection)
      leases.begin('finish', socket, connection)
      accepting.resolve(new HeldConnection(socket, connection, session.handBack))
    } else if (this.#served !== undefined) {
      const served = this.#served
      const socket = served.receive(connection)
      leases.begin('close', socket, connection, socket && (() => served.closed(socket)))
    } else if (this.listenerCount('connection') > 0) {
      const socket = adoptSocket(connection)
      leases.begin('close', socket, connection)
      const held = new HeldConnection(socket, connection, session.handBack)
      uncaught(() => this.emit('connection', socket, held))
    } else {
      this.#surplus.push([connection, session])
    }
  }

  #phaseChanged(session: Session, { phase, reason }: ReceiverPhase): void {
    debug('the channel to the server is %s%s', phase, reason === undefined ? '' : `: ${reason}`)
    if (phase === 'draining') this.#drain({ reason: 'server', timeout: undefined })
    if (phase === 'retired') {
      this.#drain({ reason: 'retired', timeout: this.#drainTimeout })
      if (this.#link.rejoins) this.#sessions.leave(session)
      else this.#finish(retiredError)
    }
    if (phase === 'ended' && !this.#link.rejoins) this.#ended(reason)
  }

  /** There is no server any more that would see to it that what is still open ends in time. */
  #ended(reason: ReceiverPhase['reason']): void {
    if (this.#state === 'closed' || reason === 'left') return
    // The server has ended the channel: the time for what it knew of is over.
    if (reason === 'closed') this.#sessions.endLeases()
    else if (this.#drainTimeout !== undefined) setTimeout(() => this.#expire(), this.#drainTimeout).unref()
    this.#drain({ reason: reason === 'eof' ? 'lost' : 'retired', timeout: this.#drainTimeout })
  }

  #expire(): void {
    this.#finish(lostError)
    this.#sessions.endLeases()
  }

  /** A channel is over and nothing of what it brought is left. */
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

  /** Whether its server has retired this worker or has died, so that this process is to exit. */
  get #isSentAway(): boolean {
    return !this.#link.rejoins && (this.#ending === retiredError || this.#ending === lostError)
  }

  get #drainTimeout(): number | undefined {
    const { drainTimeout } = this.#link.settings
    return drainTimeout === 0 ? undefined : drainTimeout
  }

  #drain(info: DrainInfo): void {
    this.#served?.drain()
    if (this.#hasDrained) return
    this.#hasDrained = true
    this.emit('drain', info)
  }

  #servedStopped(): void {
    this.#isStopping = this.#accepts.length + this.#listeners.demand === 0
    // Not before those that came with the one being handled have been given to the server, too.
    queueMicrotask(() => {
      if (this.#state !== 'open') return
      this.#served?.end()
      this.#served = undefined
      this.#isStopping = false
      if (this.#demand() === 0) void this.close()
    })
  }

  #finish(ending: () => SocketServerError): void {
    if (this.#state !== 'open') return
    this.#state = 'closing'
    this.#ending = ending
    this.#accepts.reject(ending)
    this.#sessions.stop()
    // From here on the sockets keep the process alive, exactly as far as they do in Node: one that is paused, or whose client
    // says nothing and is not waited for, does not.
    this.#keepAlive.release()
    this.#link.left(this)
    // After a drain the shutdown handler of the application closes its server, which must find the server open.
    this.#served?.finish({ close: !this.#isSentAway || !handlesShutdown() })
    for (const [connection, session] of this.#surplus.splice(0)) session.giveUp(connection)
    this.#closeIfDone()
  }

  #closeIfDone(): void {
    if (this.#state !== 'closing' || this.#sessions.leases > 0) return
    this.#state = 'closed'
    this.#sessions.close()
    this.#served?.end()
    process.nextTick(() => {
      this.#settleClosed()
      this.emit('close')
    })
  }
}
