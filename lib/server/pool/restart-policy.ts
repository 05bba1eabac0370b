// Decides when to restart a worker. Pure: the input is an uptime and a random number, the output a delay.

import { Backoff, jittered } from '../../backoff.js'

/** Options of `restart`: how a pool replaces workers that exit. */
export interface RestartOptions {
  /** Milliseconds before the restart after a quick exit; doubled with each further quick exit in a row. Default 200. */
  minDelay?: number | undefined
  /** The longest delay in milliseconds, at least `minDelay`. Default 30000. */
  maxDelay?: number | undefined
  /** An exit before the worker is ready, or less than this many milliseconds after, is a quick exit. Default 2000. */
  minUptime?: number | undefined
  /** This many quick exits in a row in one slot are a crash loop, at least 1. Default 5. */
  crashLoop?: number | undefined
}

/** Validated {@link RestartOptions}. */
export interface RestartSettings {
  minDelay: number
  maxDelay: number
  minUptime: number
  crashLoop: number
}

/** The default restart settings. */
export const DEFAULT_RESTART: RestartSettings = { minDelay: 200, maxDelay: 30_000, minUptime: 2000, crashLoop: 5 }

/** How to restart a worker. */
export interface RestartDecision {
  /** Milliseconds to wait before the restart. */
  delay: number
  /** Quick exits in a row including this one; 0 after an exit that was not quick. */
  failures: number
  /** Whether the slot is in a crash loop. */
  isCrashLoop: boolean
}

/**
 * The restart policy of one slot. A worker that was ready for `minUptime` is replaced at once. After a quick exit the delay is
 * `minDelay`, doubled with each quick exit in a row, and `maxDelay` in a crash loop. Jitter shortens each delay by up to a
 * quarter, so that workers that failed together do not restart together.
 *
 * The policy counts per slot: four workers that are killed together are not a crash loop, and one worker that always fails is one
 * even if three others run.
 */
export class RestartPolicy {
  readonly #settings: RestartSettings
  readonly #backoff: Backoff

  constructor(settings: RestartSettings) {
    this.#settings = settings
    this.#backoff = new Backoff(settings, JITTER)
  }

  /**
   * Decides after an exit. `uptime` is the milliseconds since the worker became ready; undefined if it never did. `random` is in
   * [0, 1).
   */
  exited(uptime: number | undefined, random: number): RestartDecision {
    const { maxDelay, minUptime, crashLoop } = this.#settings
    if (uptime !== undefined && uptime >= minUptime) {
      this.#backoff.reset()
      return { delay: 0, failures: 0, isCrashLoop: false }
    }
    const delay = this.#backoff.next(random)
    const { failures } = this.#backoff
    const isCrashLoop = failures >= crashLoop
    return { delay: isCrashLoop ? jittered(maxDelay, JITTER, random) : delay, failures, isCrashLoop }
  }

  /**
   * Decides after a start that failed because the system is out of descriptors, processes or memory. The shortage is not the
   * worker's fault: it does not count towards a crash loop, and the next attempt follows soon.
   */
  lackedResources(random: number): RestartDecision {
    const { minDelay, maxDelay } = this.#settings
    const longest = Math.min(maxDelay, Math.max(minDelay, SHORTAGE_DELAY))
    return { delay: jittered(longest, JITTER, random), failures: this.#backoff.failures, isCrashLoop: false }
  }
}

/** The part of a delay that jitter may take off. */
const JITTER = 0.25

/** Milliseconds between two attempts during a shortage: a failed start is cheap, and the shortage may end at any time. */
const SHORTAGE_DELAY = 1000
