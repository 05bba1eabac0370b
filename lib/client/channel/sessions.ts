// Runs in a WORKER: what a client has of its channels.

import type { Socket } from 'node:net'
import type { ReceiverPhase } from '../../native.js'
import { closeConnection } from '../connection/adopt-socket.js'
import { assertUntouched } from '../connection/hand-backs.js'
import { Leases } from '../connection/leases.js'
import type { ReceivedConnection } from '../connection/received-connection.js'
import type { Channel } from './channel.js'
import { Lane } from './lane.js'

/** A client's part of one channel: the lane by which connections come, and the leases of those that have. */
export interface Session {
  readonly lane: Lane
  readonly leases: Leases
  /** Hands one back to where it came from; see `Connection.handBack`. One function for all. */
  readonly handBack: (socket: Socket, connection: ReceivedConnection) => Promise<void>
  /** Hands one back that could not become a socket, or closes it if that is impossible. */
  readonly giveUp: (connection: ReceivedConnection) => void
}

/** Whoever takes the connections of all sessions. */
export interface BerthsOwner {
  /** How many it would take now; Infinity while it takes them as they come. */
  demand(): number
  /** Gets one. Must not throw. */
  receive(connection: ReceivedConnection, session: Session): void
  /** The lease of one is over. */
  leaseOver(): void
  /** A channel is over and its session has given all it held. */
  exhausted(session: Session, phase: ReceiverPhase): void
  phaseChanged(session: Session, phase: ReceiverPhase): void
}

/**
 * The sessions of a client. There is one, but for a client that joins servers by itself: when a server has gone or has retired
 * this worker, its session stays until the last lease it brought is over, beside the one at the next server; in between there
 * may be none. Each channel counts its own leases, and together they keep to the client's concurrency.
 */
export class Sessions {
  readonly port: number
  readonly #owner: BerthsOwner
  readonly #sessions = new Set<Session>()
  #concurrency = Number.POSITIVE_INFINITY

  constructor(port: number, owner: BerthsOwner) {
    this.port = port
    this.#owner = owner
  }

  /** Leases held, wherever they came from. */
  get leases(): number {
    let leases = 0
    for (const { lane } of this.#sessions) leases += lane.leases
    return leases
  }

  get concurrency(): number {
    return this.#concurrency
  }

  set concurrency(limit: number) {
    this.#concurrency = limit
    this.#divide()
  }

  /** Takes connections from this channel from now on. */
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
    })
    const leases = new Leases((isHandedBack) => {
      lane.leaseEnded(isHandedBack)
      if (this.#sessions.size > 1) this.#divide()
      if (lane.isStopped) this.#closeIfDone(session)
      owner.leaseOver()
    })
    const handBack = async (socket: Socket, connection: ReceivedConnection): Promise<void> => {
      assertUntouched(socket)
      const returned = channel.handBack(connection)
      // From here on it is not this worker's: its lease is over with the parent's word, not when this socket closes.
      const over = leases.handBack(connection, returned)
      socket.destroy()
      await over
    }
    const giveUp = (connection: ReceivedConnection): void => {
      try {
        leases.handBack(connection, channel.handBack(connection)).catch(() => {})
      } catch {
        // The server cannot take it back. Why the connection is given up has been told.
        leases.over(connection)
      }
      closeConnection(connection)
    }
    const session: Session = { lane, leases, handBack, giveUp }
    this.#sessions.add(session)
    this.#divide()
    lane.pumpSoon()
  }

  /** Has all lanes ask for what is wanted now. */
  pumpSoon(): void {
    for (const { lane } of this.#sessions) lane.pumpSoon()
  }

  /** Asks for nothing any more; leases go on. */
  stop(): void {
    for (const { lane } of this.#sessions) lane.stop()
  }

  /** Asks for nothing any more by this one, which ends with its last lease. */
  leave(session: Session): void {
    session.lane.stop()
    this.#closeIfDone(session)
  }

  /** Ends all leases. */
  endLeases(): void {
    for (const { leases } of this.#sessions) leases.end()
  }

  /** Stopped and without leases: gone. */
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

  /** Gives each lane what the leases of the others leave of the concurrency. */
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
