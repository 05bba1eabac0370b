import type { EventEmitter } from 'node:events'
import type { SocketServerError } from '../errors.js'
import { report } from '../report-error.js'
import { Waiters } from '../waiters.js'
import type { Session } from './channel/sessions.js'
import { adoptSocket } from './connection/adopt-socket.js'
import { type Connection, HeldConnection } from './connection/connection.js'
import { ConnectionListeners } from './connection/connection-listeners.js'
import type { ReceivedConnection } from './connection/received-connection.js'
import type { ClientEvents } from './events.js'
import { ClientContext } from './lifecycle/client-context.js'
import { uncaught } from './lifecycle/uncaught.js'
import type { ServedServer } from './serve/served-server.js'

/**
 * Delivers each connection of a client to one consumer: the oldest pending `accept()`, else the served server, else the listeners
 * of the event `connection`.
 */
export class Delivery {
  readonly #events: EventEmitter<ClientEvents>
  readonly #onDemand: () => void
  readonly #context = new ClientContext()
  readonly #accepts: Waiters<undefined, Connection>
  readonly #listeners: ConnectionListeners
  /** Connections whose listener was removed while they arrived. The next consumer gets them. */
  readonly #surplus: [ReceivedConnection, Session][] = []
  #served: ServedServer | undefined
  #isStopped = false

  /** `events` is the client. `onDemand` is called when the demand has changed. */
  constructor(events: EventEmitter<ClientEvents>, onDemand: () => void) {
    this.#events = events
    this.#onDemand = onDemand
    this.#accepts = new Waiters(onDemand)
    this.#listeners = new ConnectionListeners(events, () => this.update())
  }

  /** How many connections the consumers would take now; Infinity while they take connections as they arrive. */
  get demand(): number {
    if (this.#isStopped) return 0
    return this.#accepts.length + (this.#served?.demand ?? this.#listeners.demand)
  }

  /** Whether another consumer than a served server takes connections. */
  get hasOtherConsumers(): boolean {
    return this.#accepts.length + this.#listeners.demand > 0
  }

  /** The server that gets the connections, if there is one. */
  get served(): ServedServer | undefined {
    return this.#served
  }

  set served(server: ServedServer | undefined) {
    this.#served = server
  }

  /** Adds a pending `accept()`. */
  accept(signal: AbortSignal | undefined): Promise<Connection> {
    const accepted = this.#accepts.wait(undefined, signal)
    this.update()
    return accepted
  }

  /** Serves new demand: first from the surplus, then by asking for more connections. */
  update(): void {
    while (this.#surplus.length > 0 && this.demand > 0) {
      for (const [connection, session] of this.#surplus.splice(0, 1)) this.deliver(connection, session)
    }
    this.#onDemand()
  }

  /** Delivers a connection. If no socket can be created from it, discards the connection and reports the error. */
  deliver(connection: ReceivedConnection, session: Session): void {
    try {
      this.#context.run(() => this.#pass(connection, session))
    } catch (error) {
      session.discard(connection)
      // Not now: further connections of the same exchange are waiting, and an error listener may throw.
      process.nextTick(() => report(this.#events, error instanceof Error ? error : new Error(String(error))))
    }
  }

  /** Stops all demand, and rejects pending `accept()` calls. */
  stop(createError: () => SocketServerError): void {
    this.#isStopped = true
    this.#accepts.reject(createError)
  }

  /** Hands the surplus back to its servers. */
  discardSurplus(): void {
    for (const [connection, session] of this.#surplus.splice(0)) session.discard(connection)
  }

  /** Passes a connection to its consumer. Throws if no socket can be created from it. */
  #pass(connection: ReceivedConnection, session: Session): void {
    const { leases } = session
    const accepting = this.#accepts.first
    if (accepting !== undefined) {
      const socket = adoptSocket(connection)
      leases.begin('finish', socket, connection)
      accepting.resolve(new HeldConnection(socket, connection, session.handBack))
    } else if (this.#served !== undefined && !this.#served.isStarting) {
      const served = this.#served
      const socket = served.receive(connection)
      leases.begin('close', socket, connection, socket && (() => served.closed(socket)))
    } else if (this.#served === undefined && this.#events.listenerCount('connection') > 0) {
      const socket = adoptSocket(connection)
      leases.begin('close', socket, connection)
      const held = new HeldConnection(socket, connection, session.handBack)
      uncaught(() => this.#events.emit('connection', socket, held))
    } else {
      this.#surplus.push([connection, session])
    }
  }
}
