// When to start a worker in the slot of one that is gone. Pure: uptime and a random number in, a delay out.

/** How a pool replaces workers that exit. */
export interface RestartOptions {
  /** Milliseconds before a second try; doubled with each quick exit after that. Default 200. */
  minDelay?: number | undefined
  /** The most that it is ever delayed, in milliseconds. Default 30000. */
  maxDelay?: number | undefined
  /** A worker that exits before it is ready, or sooner than so many milliseconds after, has exited quickly. Default 2000. */
  minUptime?: number | undefined
  /** So many quick exits in a row, in one slot of the pool, are a crash loop. Default 5. */
  crashLoop?: number | undefined
}

export interface RestartSettings {
  minDelay: number
  maxDelay: number
  minUptime: number
  crashLoop: number
}

export const DEFAULT_RESTART: RestartSettings = { minDelay: 200, maxDelay: 30_000, minUptime: 2000, crashLoop: 5 }

/** What to do after an exit. */
export interface RestartDecision {
  /** Milliseconds to wait. */
  delay: number
  /** Quick exits in a row, this one included; 0 after one that was not quick. */
  failures: number
  /** Whether that makes a crash loop. */
  isCrashLoop: boolean
}

/**
 * The restarts of one slot in a pool. A worker that has lived for `minUptime` is replaced at once. Otherwise the delay is
 * `minDelay`, doubled with each quick exit in a row, and `maxDelay` from the first that makes a crash loop; of each delay
 * up to a quarter is taken off by chance, so that workers that failed together do not come back together.
 *
 * By slot and not by pool: four workers that are killed at once are no crash loop, and one that cannot live is one
 * although three others can.
 */
export class RestartPolicy {
  readonly #settings: RestartSettings
  #failures = 0

  constructor(settings: RestartSettings) {
    this.#settings = settings
  }

  /** A worker has exited `uptime` milliseconds after it had become ready; undefined if it never had. `chance` is in [0, 1). */
  exited(uptime: number | undefined, chance: number): RestartDecision {
    const { minDelay, maxDelay, minUptime, crashLoop } = this.#settings
    if (uptime !== undefined && uptime >= minUptime) {
      this.#failures = 0
      return { delay: 0, failures: 0, isCrashLoop: false }
    }
    this.#failures += 1
    const isCrashLoop = this.#failures >= crashLoop
    const longest = isCrashLoop ? maxDelay : Math.min(maxDelay, minDelay * 2 ** (this.#failures - 1))
    return { delay: jittered(longest, chance), failures: this.#failures, isCrashLoop }
  }

  /**
   * A worker could not be started because the system is out of descriptors, processes or memory. That says nothing about the
   * worker, so it counts for no crash loop, and the next try comes soon after the shortage has ended.
   */
  lackedResources(chance: number): RestartDecision {
    const { minDelay, maxDelay } = this.#settings
    const longest = Math.min(maxDelay, Math.max(minDelay, SHORTAGE_DELAY))
    return { delay: jittered(longest, chance), failures: this.#failures, isCrashLoop: false }
  }
}

/** The part of a delay that chance may take off. */
const JITTER = 0.25

/** Milliseconds between two tries during a shortage: a failed start costs next to nothing, and the shortage may end at any time. */
const SHORTAGE_DELAY = 1000

function jittered(delay: number, chance: number): number {
  return Math.round(delay * (1 - JITTER * chance))
}
