import type { DrainResult } from './stats.js'

/** The methods of the native server that a drain calls. */
export interface DrainPort {
  drain(): void
  stats(): { queued: number; leases: number }
}

/** The drain of a server, which begins once. Any number of callers wait for its end, each with a separate timeout. */
export class Drain {
  readonly #native: DrainPort
  readonly #waiting = new Set<() => void>()
  #state: 'not begun' | 'running' | 'finished' = 'not begun'

  constructor(native: DrainPort) {
    this.#native = native
  }

  /** Begins the drain if necessary. Resolves when the drain has finished, or after `timeout` milliseconds. */
  async wait(timeout: number): Promise<DrainResult> {
    if (this.#state === 'not begun') {
      this.#state = 'running'
      this.#native.drain()
    }
    if (this.#state === 'running') await this.#settledWithin(timeout)
    const { queued, leases } = this.#native.stats()
    return { complete: queued === 0 && leases === 0, queued, leases }
  }

  /** Records that the drain has finished, or that the native server was destroyed. */
  settle(): void {
    this.#state = 'finished'
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
