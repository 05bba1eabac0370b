import { AbortError } from '../errors.js'

/** One call that waits, and what it asked for. */
export interface Waiter<Request, Result> {
  readonly request: Request
  resolve(result: Result): void
  reject(error: Error): void
}

/** Calls that wait for a result each, first come, first served. */
export class Waiters<Request, Result> {
  readonly #waiting = new Set<Waiter<Request, Result>>()
  readonly #onWithdrawal: () => void

  /** `onWithdrawal` is told when a call stops waiting by its signal. */
  constructor(onWithdrawal: () => void) {
    this.#onWithdrawal = onWithdrawal
  }

  get length(): number {
    return this.#waiting.size
  }

  /** The one that has waited longest; settled, it no longer waits. */
  get first(): Waiter<Request, Result> | undefined {
    const [first] = this.#waiting
    return first
  }

  wait(request: Request, signal: AbortSignal | undefined): Promise<Result> {
    if (signal?.aborted) return Promise.reject(new AbortError(signal.reason))
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(waiter)
        signal?.removeEventListener('abort', abort)
      }
      const waiter: Waiter<Request, Result> = {
        request,
        resolve: (result) => {
          leave()
          resolve(result)
        },
        reject: (error) => {
          leave()
          reject(error)
        },
      }
      const abort = (): void => {
        waiter.reject(new AbortError(signal?.reason))
        this.#onWithdrawal()
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiting.add(waiter)
    })
  }

  /** Rejects all that wait. */
  reject(error: Error): void {
    for (const waiter of this.#waiting) waiter.reject(error)
  }
}
