import { AbortError } from '../../errors.js'
import type { Connection } from '../connection/connection.js'

/** The calls of `accept()` that wait, first come, first served. */
export class AcceptQueue {
  readonly #waiting = new Set<Waiter>()
  readonly #onWithdrawal: () => void

  /** `onWithdrawal` is told when a call stops waiting by its signal. */
  constructor(onWithdrawal: () => void) {
    this.#onWithdrawal = onWithdrawal
  }

  get length(): number {
    return this.#waiting.size
  }

  wait(signal: AbortSignal | undefined): Promise<Connection> {
    if (signal?.aborted) return Promise.reject(new AbortError(signal.reason))
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { resolve, reject, settled: () => signal?.removeEventListener('abort', abort) }
      const abort = (): void => {
        this.#waiting.delete(waiter)
        reject(new AbortError(signal?.reason))
        this.#onWithdrawal()
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiting.add(waiter)
    })
  }

  /** Gives a connection to the one that has waited longest; someone must wait. */
  give(connection: Connection): void {
    const [waiter] = this.#waiting
    if (waiter === undefined) return
    this.#waiting.delete(waiter)
    waiter.settled()
    waiter.resolve(connection)
  }

  /** Rejects all that wait. */
  reject(reason: () => Error): void {
    for (const waiter of this.#waiting) {
      waiter.settled()
      waiter.reject(reason())
    }
    this.#waiting.clear()
  }
}

interface Waiter {
  resolve: (connection: Connection) => void
  reject: (error: Error) => void
  settled: () => void
}
