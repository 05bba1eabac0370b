import type { Socket } from 'node:net'
import { debug, diagnostics } from '../../diagnostics.js'
import { closeConnection } from './adopt-socket.js'
import { connectionInfo } from './connection.js'
import type { ReceivedConnection } from './received-connection.js'

/** The connections a client holds: each begins, and is over, once; and all can be ended when the time for them is. */
export class Leases {
  /**
   * Not a Set: one that sees thousands come and go makes a new table for every few dozen of them, and a third of the time
   * of collection went into that (measured).
   */
  readonly #held: Held[] = []
  readonly #onOver: (isHandedBack: boolean) => void

  /** `onOver` is called for each that is over. */
  constructor(onOver: (isHandedBack: boolean) => void) {
    this.#onOver = onOver
  }

  /**
   * Holds a connection until its descriptor is closed or, with `until: 'finish'`, everything that a handler had to say has been
   * sent. This adds no listener of `close` to the socket, because Node's own servers and their users count these.
   * `onOver` is called for this one.
   */
  begin(
    until: 'close' | 'finish',
    socket: Socket | undefined,
    connection: ReceivedConnection,
    onOver?: () => void,
  ): void {
    if (debug.enabled) {
      const { id, address = 'a Unix socket', waited } = connection
      debug('connection %d from %s is taken, having waited %d ms', id, address, waited)
    }
    if (diagnostics.connectionTaken.hasSubscribers) diagnostics.connectionTaken.publish(connectionInfo(connection))
    const held: Held = { socket, connection, index: this.#held.length, isOver: false }
    this.#held.push(held)
    const over = (): void => {
      if (held.isOver) return
      held.isOver = true
      this.#forget(held)
      onOver?.()
      if (!connection.isHandedBack) this.over(connection)
    }
    if (until === 'finish') socket?.once('finish', over)
    connection.onClosed(over)
  }

  /** One that has no socket, or never had, is over. */
  over({ id }: ReceivedConnection): void {
    if (debug.enabled) debug('connection %d is over', id)
    if (diagnostics.connectionOver.hasSubscribers) diagnostics.connectionOver.publish({ id })
    this.#onOver(false)
  }

  /** One goes back to the parent, and is over when that has it, or has gone. */
  async handBack(connection: ReceivedConnection, returned: Promise<void>): Promise<void> {
    connection.isHandedBack = true
    const { id } = connection
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
    for (const { socket, connection } of [...this.#held]) {
      if (socket === undefined) {
        closeConnection(connection)
        continue
      }
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

interface Held {
  /** Undefined if nobody has shown it: somebody had removed this package's listener from a served server. */
  socket: Socket | undefined
  connection: ReceivedConnection
  /** Its index among the others. */
  index: number
  isOver: boolean
}

/** Milliseconds; well within the quarter of a second after which the parent sends SIGTERM. */
const FLUSH_TIME = 100
