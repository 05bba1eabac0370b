// Runs in a WORKER: what a client has of its channels.

import type { Socket } from 'node:net'
import type { ReceiverPhase } from '../native.js'
import { closeConnection } from './adopt-socket.js'
import type { Channel } from './channel.js'
import { Lane } from './lane.js'
import { Leases } from './leases.js'
import type { ReceivedConnection } from './received-connection.js'
import { assertUntouched } from './returns.js'

/** A client's part of one channel: the lane by which connections come, and the leases of those that have. */
export interface Berth {
  readonly lane: Lane
  readonly leases: Leases
  /** Hands one back to where it came from; see `Connection.handBack`. One function for all. */
  readonly handBack: (socket: Socket, connection: ReceivedConnection) => Promise<void>
  /** Hands one back that could not become a socket, or closes it if that is impossible. */
  readonly giveUp: (connection: ReceivedConnection) => void
}

/** Whoever takes the connections of all berths. */
export interface BerthsOwner {
  /** How many it would take now; Infinity while it takes them as they come. */
  demand(): number
  /** Gets one. Must not throw. */
  receive(connection: ReceivedConnection, berth: Berth): void
  /** The lease of one is over. */
  leaseOver(): void
  /** A channel is over and its berth has given all it held. */
  exhausted(berth: Berth, phase: ReceiverPhase): void
  phaseChanged(berth: Berth, phase: ReceiverPhase): void
}

/**
 * The berths of a client. There is one, but for a client that joins servers by itself: when a server has gone or has retired
 * this worker, its berth stays until the last lease it brought is over, beside the one at the next server; in between there
 * may be none. Each channel counts its own leases, and together they keep to the client's concurrency.
 */
export class Berths {
  readonly port: number
  readonly #owner: BerthsOwner
  readonly #berths = new Set<Berth>()
  #concurrency = Number.POSITIVE_INFINITY

  constructor(port: number, owner: BerthsOwner) {
    this.port = port
    this.#owner = owner
  }

  /** Leases held, wherever they came from. */
  get leases(): number {
    let leases = 0
    for (const { lane } of this.#berths) leases += lane.leases
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
        if (this.#berths.size > 1) this.#divide()
        owner.receive(connection, berth)
      },
      exhausted: () => owner.exhausted(berth, channel.phase),
      phaseChanged: (phase) => owner.phaseChanged(berth, phase),
    })
    const leases = new Leases((isHandedBack) => {
      lane.leaseEnded(isHandedBack)
      if (this.#berths.size > 1) this.#divide()
      if (lane.isStopped) this.#closeIfDone(berth)
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
    const berth: Berth = { lane, leases, handBack, giveUp }
    this.#berths.add(berth)
    this.#divide()
    lane.pumpSoon()
  }

  /** Has all lanes ask for what is wanted now. */
  pumpSoon(): void {
    for (const { lane } of this.#berths) lane.pumpSoon()
  }

  /** Asks for nothing any more; leases go on. */
  stop(): void {
    for (const { lane } of this.#berths) lane.stop()
  }

  /** Asks for nothing any more by this one, which ends with its last lease. */
  leave(berth: Berth): void {
    berth.lane.stop()
    this.#closeIfDone(berth)
  }

  /** Ends all leases. */
  endLeases(): void {
    for (const { leases } of this.#berths) leases.end()
  }

  /** Stopped and without leases: gone. */
  close(): void {
    for (const berth of this.#berths) {
      this.#berths.delete(berth)
      berth.lane.close()
    }
  }

  #closeIfDone(berth: Berth): void {
    if (berth.lane.leases > 0 || !this.#berths.delete(berth)) return
    berth.lane.close()
    this.#divide()
  }

  /** Gives each lane what the leases of the others leave of the concurrency. */
  #divide(): void {
    if (this.#berths.size === 1 || this.#concurrency === Number.POSITIVE_INFINITY) {
      for (const { lane } of this.#berths)
        if (lane.concurrency !== this.#concurrency) lane.concurrency = this.#concurrency
      return
    }
    const free = this.#concurrency - this.leases
    for (const { lane } of this.#berths) lane.concurrency = free + lane.leases
  }
}
