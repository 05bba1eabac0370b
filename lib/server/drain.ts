import type { DrainResult } from './stats.js'

/** What a drain needs of the native server. */
export interface DrainPort {
  drain(): void
  stats(): { queued: number; leases: number }
}

/** The drain of a server: begun once, waited for by any number of callers, each as long as it likes. */
export class Drain {
  readonly #native: DrainPort
  readonly #waiting = new Set<() => void>()
  #stage: 'not begun' | 'under way' | 'over' = 'not begun'

  constructor(native: DrainPort) {
    this.#native = native
  }

  /** Resolves when it is over, or after `timeout` milliseconds. */
  async wait(timeout: number): Promise<DrainResult> {
    if (this.#stage === 'not begun') {
      this.#stage = 'under way'
      this.#native.drain()
    }
    if (this.#stage === 'under way') await this.#settledWithin(timeout)
    const { queued, leases } = this.#native.stats()
    return { complete: queued === 0 && leases === 0, queued, leases }
  }

  /** The native side says that it is over, or has been destroyed. */
  settle(): void {
    this.#stage = 'over'
    for (const done of this.#waiting) done()
  }

  #settledWithin(timeout: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(done)
        resolve()
      }
      const timer = setTimeout(done, timeout)
      this.#waiting.add(done)
    })
  }
}
