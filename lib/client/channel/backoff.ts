/** Pauses that double from try to try, each less up to a half by chance, so that many that lost one server do not meet the next at once. */
export class Backoff {
  readonly #minDelay: number
  readonly #maxDelay: number
  #failures = 0

  constructor({ minDelay, maxDelay }: { minDelay: number; maxDelay: number }) {
    this.#minDelay = minDelay
    this.#maxDelay = maxDelay
  }

  /** Tries in a row that have failed. */
  get failures(): number {
    return this.#failures
  }

  /** One has failed: milliseconds to pause. `chance` is in [0, 1). */
  next(chance: number): number {
    // Beyond 2^31 there is nothing left to double.
    const longest = Math.min(this.#maxDelay, this.#minDelay * 2 ** Math.min(this.#failures, 31))
    this.#failures += 1
    return Math.max(1, Math.round(longest * (1 - JITTER * chance)))
  }

  /** The last one has lasted. */
  reset(): void {
    this.#failures = 0
  }
}

/** The part of a pause that chance may take off. */
const JITTER = 0.5
