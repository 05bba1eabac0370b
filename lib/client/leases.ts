import type { Socket } from 'node:net'
import { debug, diagnostics } from '../diagnostics.js'
import type { ReceivedConnection } from '../native.js'
import { connectionInfo } from './connection.js'
import { leaseUntil } from './lease.js'

/** The connections a client holds: each begins, and is over, once; and all can be ended when the time for them is. */
export class Leases {
  readonly #sockets = new Set<Socket>()
  readonly #onOver: () => void

  /** `onOver` is called for each that is over. */
  constructor(onOver: () => void) {
    this.#onOver = onOver
  }

  /** Holds a connection until its socket has closed, or, in a handler's hands, has finished. */
  begin(until: 'close' | 'finish', socket: Socket, connection: ReceivedConnection): void {
    const { id, remoteAddress = 'a Unix socket', waited } = connection
    debug('connection %d from %s is taken, having waited %d ms', id, remoteAddress, waited)
    if (diagnostics.connectionTaken.hasSubscribers) diagnostics.connectionTaken.publish(connectionInfo(connection))
    this.#sockets.add(socket)
    leaseUntil(until, socket, () => {
      this.#sockets.delete(socket)
      this.over(connection)
    })
  }

  /** One that has no socket, or never had, is over. */
  over({ id }: ReceivedConnection): void {
    debug('connection %d is over', id)
    if (diagnostics.connectionOver.hasSubscribers) diagnostics.connectionOver.publish({ id })
    this.#onOver()
  }

  /** Ends all: sends what has been written and then the end, and closes what has not closed soon after that. */
  end(): void {
    for (const socket of this.#sockets) {
      socket.destroySoon()
      setTimeout(() => socket.destroy(), FLUSH_TIME).unref()
    }
  }
}

/** Milliseconds; well within the quarter of a second after which the parent sends SIGTERM. */
const FLUSH_TIME = 100
