import type { Socket } from 'node:net'
import { debug, diagnostics } from '../diagnostics.js'
import { connectionInfo } from './connection.js'
import { leaseUntil } from './lease.js'
import type { ReceivedConnection } from './received-connection.js'

/** The connections a client holds: each begins, and is over, once; and all can be ended when the time for them is. */
export class Leases {
  /**
   * Not a Set: one that sees thousands come and go makes a new table for every few dozen of them, and a third of the time
   * of collection went into that (measured).
   */
  readonly #held: Held[] = []
  readonly #onOver: (isHandedBack: boolean) => void
  /** Handed back to the parent, and their sockets not closed yet: that is not the end of these leases. */
  readonly #returning = new Set<number>()

  /** `onOver` is called for each that is over. */
  constructor(onOver: (isHandedBack: boolean) => void) {
    this.#onOver = onOver
  }

  /** Holds a connection until its socket has closed, or, in a handler's hands, has finished. */
  begin(until: 'close' | 'finish', socket: Socket, connection: ReceivedConnection): void {
    if (debug.enabled) {
      const { id, address = 'a Unix socket', waited } = connection
      debug('connection %d from %s is taken, having waited %d ms', id, address, waited)
    }
    if (diagnostics.connectionTaken.hasSubscribers) diagnostics.connectionTaken.publish(connectionInfo(connection))
    const held = { socket, index: this.#held.length }
    this.#held.push(held)
    leaseUntil(until, socket, () => {
      this.#forget(held)
      if (!this.#returning.delete(connection.id)) this.over(connection)
    })
  }

  /** One that has no socket, or never had, is over. */
  over({ id }: ReceivedConnection): void {
    if (debug.enabled) debug('connection %d is over', id)
    if (diagnostics.connectionOver.hasSubscribers) diagnostics.connectionOver.publish({ id })
    this.#onOver(false)
  }

  /** One goes back to the parent, and is over when that has it, or has gone. */
  async handBack({ id }: ReceivedConnection, returned: Promise<void>): Promise<void> {
    this.#returning.add(id)
    try {
      await returned
    } finally {
      if (debug.enabled) debug('connection %d is handed back', id)
      if (diagnostics.connectionOver.hasSubscribers) diagnostics.connectionOver.publish({ id })
      this.#onOver(true)
    }
  }

  /** Ends all: sends what has been written and then the end, and closes what has not closed soon after that. */
  end(): void {
    for (const { socket } of [...this.#held]) {
      socket.destroySoon()
      setTimeout(() => socket.destroy(), FLUSH_TIME).unref()
    }
  }

  #forget(held: Held): void {
    const last = this.#held.pop()
    if (last === undefined || last === held) return
    last.index = held.index
    this.#held[held.index] = last
  }
}

/** A socket, and its place among the others. */
interface Held {
  socket: Socket
  index: number
}

/** Milliseconds; well within the quarter of a second after which the parent sends SIGTERM. */
const FLUSH_TIME = 100
