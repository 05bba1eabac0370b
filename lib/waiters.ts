import { AbortError } from './errors.js'

/** One pending call, and its argument. */
export interface Waiter<Request, Result> {
  readonly request: Request
  resolve(result: Result): void
  reject(error: Error): void
}

/** Pending calls, each of which waits for one result: first come, first served. */
export class Waiters<Request, Result> {
  readonly #waiting = new Set<Waiter<Request, Result>>()
  readonly #onAbort: () => void

  /** `onAbort` is called when the signal of a call has ended the call. */
  constructor(onAbort: () => void) {
    this.#onAbort = onAbort
  }

  /** The number of pending calls. */
  get length(): number {
    return this.#waiting.size
  }

  /** The oldest pending call. Settling a call removes it. */
  get first(): Waiter<Request, Result> | undefined {
    const [first] = this.#waiting
    return first
  }

  /** Adds a call. Rejects with an AbortError once `signal` is aborted. */
  wait(request: Request, signal: AbortSignal | undefined): Promise<Result> {
    if (signal?.aborted) return Promise.reject(new AbortError(signal.reason))
    return new Promise((resolve, reject) => {
      const remove = (): void => {
        this.#waiting.delete(waiter)
        signal?.removeEventListener('abort', abort)
      }
      const waiter: Waiter<Request, Result> = {
        request,
        resolve: (result) => {
          remove()
          resolve(result)
        },
        reject: (error) => {
          remove()
          reject(error)
        },
      }
      const abort = (): void => {
        waiter.reject(new AbortError(signal?.reason))
        this.#onAbort()
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiting.add(waiter)
    })
  }

  /** Rejects every pending call, each with a new error. */
  reject(createError: () => Error): void {
    for (const waiter of this.#waiting) waiter.reject(createError())
  }
}
