// Runs in a WORKER: a client's part of each of its channels.

import type { Socket } from 'node:net'
import type { ReceiverPhase } from '../../native.js'
import { closeConnection } from '../connection/adopt-socket.js'
import { assertUnused } from '../connection/hand-backs.js'
import { Leases } from '../connection/leases.js'
import type { ReceivedConnection } from '../connection/received-connection.js'
import type { Channel } from './channel.js'
import { Lane } from './lane.js'

/** A client's part of one channel: the lane and the leases. */
export interface Session {
  readonly lane: Lane
  readonly leases: Leases
  /** Hands a connection back to its server; see `Connection.handBack`. All connections share one function. */
  readonly handBack: (socket: Socket, connection: ReceivedConnection) => Promise<void>
  /** Hands back a connection that no consumer will serve here, or closes it if the server cannot take it. */
  readonly discard: (connection: ReceivedConnection) => void
}

/** The consumer of the connections of all sessions. */
export interface SessionsOwner {
  /** Returns how many connections it would take now; Infinity while it takes them as they arrive. */
  demand(): number
  /** Takes a connection. Must not throw. */
  receive(connection: ReceivedConnection, session: Session): void
  /** Called when a lease has ended. */
  leaseEnded(): void
  /** Called when a channel has ended and its session has passed on all connections. */
  exhausted(session: Session, phase: ReceiverPhase): void
  phaseChanged(session: Session, phase: ReceiverPhase): void
  /** Called when the listeners of a session's server, or some of them, have become known. */
  listenersChanged(session: Session): void
}

/**
 * The sessions of a client. A client of the parent has one. A client that joins a shared path has one for each server that it still
 * holds leases of, besides the one at the current server, and may have none between two servers. Each channel counts its own
 * leases; the client's concurrency limits their sum.
 */
export class Sessions {
  readonly port: number
  readonly #owner: SessionsOwner
  readonly #sessions = new Set<Session>()
  #concurrency = Number.POSITIVE_INFINITY

  constructor(port: number, owner: SessionsOwner) {
    this.port = port
    this.#owner = owner
  }

  /** The leases of all sessions. */
  get leases(): number {
    let leases = 0
    for (const { lane } of this.#sessions) leases += lane.leases
    return leases
  }

  /** The session of the channel that was added last. */
  get latest(): Session | undefined {
    return [...this.#sessions].at(-1)
  }

  get concurrency(): number {
    return this.#concurrency
  }

  set concurrency(limit: number) {
    this.#concurrency = limit
    this.#divide()
  }

  /** Adds a session that takes connections from a channel. */
  add(channel: Channel): void {
    const owner = this.#owner
    const lane: Lane = new Lane(this.port, channel, {
      demand: () => owner.demand(),
      receive: (connection) => {
        if (this.#sessions.size > 1) this.#divide()
        owner.receive(connection, session)
      },
      exhausted: () => owner.exhausted(session, channel.phase),
      phaseChanged: (phase) => owner.phaseChanged(session, phase),
      listenersChanged: () => owner.listenersChanged(session),
    })
    const leases = new Leases((lasted, tracked) => {
      lane.leaseEnded(lasted, tracked)
      if (this.#sessions.size > 1) this.#divide()
      if (lane.isStopped) this.#closeIfDone(session)
      owner.leaseEnded()
    })
    const handBack = async (socket: Socket, connection: ReceivedConnection): Promise<void> => {
      assertUnused(socket)
      const handedBack = channel.handBack(connection)
      // The connection is the parent's now: the parent's reply ends the lease, not the close of this socket.
      const ended = leases.handBack(connection, handedBack)
      socket.destroy()
      await ended
    }
    const discard = (connection: ReceivedConnection): void => {
      try {
        leases.handBack(connection, channel.handBack(connection)).catch(() => {})
      } catch {
        // The server cannot take the connection. The client has reported why it discards it.
        leases.end(connection)
      }
      closeConnection(connection)
    }
    const session: Session = { lane, leases, handBack, discard }
    this.#sessions.add(session)
    this.#divide()
    lane.pumpSoon()
  }

  /** Makes all lanes ask for connections according to the demand. */
  pumpSoon(): void {
    for (const { lane } of this.#sessions) lane.pumpSoon()
  }

  /** Stops asking for connections. Leases continue. */
  stop(): void {
    for (const { lane } of this.#sessions) lane.stop()
  }

  /** Stops one session, which closes after its last lease. */
  leave(session: Session): void {
    session.lane.stop()
    this.#closeIfDone(session)
  }

  /** Ends all leases. */
  endLeases(): void {
    for (const { leases } of this.#sessions) leases.endAll()
  }

  /** Closes all sessions, which have stopped and have no leases. */
  close(): void {
    for (const session of this.#sessions) {
      this.#sessions.delete(session)
      session.lane.close()
    }
  }

  #closeIfDone(session: Session): void {
    if (session.lane.leases > 0 || !this.#sessions.delete(session)) return
    session.lane.close()
    this.#divide()
  }

  /** Divides the concurrency: each lane may have its own leases and the unused rest. */
  #divide(): void {
    if (this.#sessions.size === 1 || this.#concurrency === Number.POSITIVE_INFINITY) {
      for (const { lane } of this.#sessions)
        if (lane.concurrency !== this.#concurrency) lane.concurrency = this.#concurrency
      return
    }
    const free = this.#concurrency - this.leases
    for (const { lane } of this.#sessions) lane.concurrency = free + lane.leases
  }
}
