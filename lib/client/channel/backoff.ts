/**
 * Delays between attempts to reconnect. They double with each failure; jitter shortens each by up to a half, so that workers that
 * lost the same server do not reconnect together.
 */
export class Backoff {
  readonly #minDelay: number
  readonly #maxDelay: number
  #failures = 0

  constructor({ minDelay, maxDelay }: { minDelay: number; maxDelay: number }) {
    this.#minDelay = minDelay
    this.#maxDelay = maxDelay
  }

  /** Failed attempts in a row. */
  get failures(): number {
    return this.#failures
  }

  /** Records a failure and returns the milliseconds until the next attempt. `random` is in [0, 1). */
  next(random: number): number {
    // More doublings have no effect: `maxDelay` is below 2^31.
    const longest = Math.min(this.#maxDelay, this.#minDelay * 2 ** Math.min(this.#failures, 31))
    this.#failures += 1
    return Math.max(1, Math.round(longest * (1 - JITTER * random)))
  }

  /** Records a success. */
  reset(): void {
    this.#failures = 0
  }
}

/** The part of a delay that jitter may take off. */
const JITTER = 0.5
