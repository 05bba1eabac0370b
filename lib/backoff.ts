/** Delays that double with each failure in a row, from `minDelay` to `maxDelay`, with jitter. */
export class Backoff {
  readonly #minDelay: number
  readonly #maxDelay: number
  readonly #jitter: number
  #failures = 0

  /** `jitter` is the part of a delay that jitter may take off, 0 to 1. */
  constructor({ minDelay, maxDelay }: { minDelay: number; maxDelay: number }, jitter: number) {
    this.#minDelay = minDelay
    this.#maxDelay = maxDelay
    this.#jitter = jitter
  }

  /** Failures in a row. */
  get failures(): number {
    return this.#failures
  }

  /** Records a failure and returns the milliseconds until the next attempt. `random` is in [0, 1). */
  next(random: number): number {
    // More doublings have no effect: `maxDelay` is below 2^31.
    const longest = Math.min(this.#maxDelay, this.#minDelay * 2 ** Math.min(this.#failures, 31))
    this.#failures += 1
    return jittered(longest, this.#jitter, random)
  }

  /** Records a success. */
  reset(): void {
    this.#failures = 0
  }
}

/** Returns a delay shortened by jitter, so that programs that failed together do not try again together. */
export function jittered(delay: number, jitter: number, random: number): number {
  return Math.round(delay * (1 - jitter * random))
}
