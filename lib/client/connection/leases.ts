import type { Socket } from 'node:net'
import { debug, diagnostics } from '../../diagnostics.js'
import { closeConnection } from './adopt-socket.js'
import { connectionInfo } from './connection.js'
import type { ReceivedConnection } from './received-connection.js'

/** The leases of a client's connections on one channel. Each lease begins and ends once. */
export class Leases {
  /**
   * Not a Set: a Set with thousands of short-lived entries allocates a new table for every few dozen of them, which took a third of
   * the garbage collection time (measured).
   */
  readonly #held: Held[] = []
  readonly #onEnd: (lasted: number | undefined, tracked?: number) => void

  /**
   * `onEnd` is called for each ended lease with its duration in milliseconds; undefined if the connection was handed back. `tracked` is
   * the id of a tracked connection.
   */
  constructor(onEnd: (lasted: number | undefined, tracked?: number) => void) {
    this.#onEnd = onEnd
  }

  /**
   * Begins a lease, which ends when the descriptor is closed or, with `until: 'finish'`, when the socket has finished. Does not
   * add a `close` listener to the socket, because users of Node's servers count listeners. `onEnd` is called for this lease.
   */
  begin(
    until: 'close' | 'finish',
    socket: Socket | undefined,
    connection: ReceivedConnection,
    onEnd?: () => void,
  ): void {
    if (debug.enabled) {
      const { id, address = 'a Unix socket', waited } = connection
      debug('connection %d from %s is taken, having waited %d ms', id, address, waited)
    }
    if (diagnostics.connectionTaken.hasSubscribers) diagnostics.connectionTaken.publish(connectionInfo(connection))
    const held: Held = { socket, connection, index: this.#held.length, hasEnded: false }
    this.#held.push(held)
    const end = (): void => {
      if (held.hasEnded) return
      held.hasEnded = true
      this.#remove(held)
      onEnd?.()
      if (!connection.isHandedBack) this.end(connection)
    }
    if (until === 'finish') socket?.once('finish', end)
    connection.onClosed(end)
  }

  /** Records the end of a lease. */
  end({ id, takenAt, isTracked }: ReceivedConnection): void {
    if (debug.enabled) debug('connection %d is over', id)
    if (diagnostics.connectionOver.hasSubscribers) diagnostics.connectionOver.publish({ id })
    this.#onEnd(performance.now() - takenAt, isTracked ? id : undefined)
  }

  /** Ends the lease of a handed-back connection once the parent has it, or has gone. */
  async handBack(connection: ReceivedConnection, handedBack: Promise<void>): Promise<void> {
    connection.isHandedBack = true
    const { id } = connection
    try {
      await handedBack
    } finally {
      if (debug.enabled) debug('connection %d is handed back', id)
      if (diagnostics.connectionOver.hasSubscribers) diagnostics.connectionOver.publish({ id })
      this.#onEnd(undefined)
    }
  }

  /** Ends all sockets after their written data, and destroys those that have not closed soon after. */
  endAll(): void {
    for (const { socket, connection } of [...this.#held]) {
      if (socket === undefined) {
        closeConnection(connection)
        continue
      }
      socket.destroySoon()
      setTimeout(() => socket.destroy(), FLUSH_TIME).unref()
    }
  }

  #remove(held: Held): void {
    const last = this.#held.pop()
    if (last === undefined || last === held) return
    last.index = held.index
    this.#held[held.index] = last
  }
}

interface Held {
  /** Undefined if the application has removed this package's listener from a served server. */
  socket: Socket | undefined
  connection: ReceivedConnection
  /** The index in the array of leases. */
  index: number
  hasEnded: boolean
}

/** Milliseconds; less than the 250 ms after which the parent sends SIGTERM. */
const FLUSH_TIME = 100
