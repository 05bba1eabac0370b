import { setTimeout as delay } from 'node:timers/promises'
import type { WorkerHandle } from '../server/worker/worker-handle.js'

/** Reads how busy the event loops of workers are, from the same measurement as the page and `/status.json`. */
export class EventLoops {
  #readAt = Number.NEGATIVE_INFINITY
  #known = new Set<number>()

  /**
   * Returns the share of time, 0 to 1, in which each event loop was busy, by the id of the worker. The period begins at an earlier
   * call, from `WINDOW` to `MAX_PERIOD` ago. After a longer pause, or with a new worker, this call reads twice.
   */
  async utilizations(workers: readonly WorkerHandle[]): Promise<Map<number, number>> {
    const isComplete = workers.every(({ id }) => this.#known.has(id))
    if (!isComplete || performance.now() - this.#readAt > MAX_PERIOD) {
      read(workers)
      await delay(WINDOW)
    }
    const shares = read(workers)
    this.#readAt = performance.now()
    this.#known = new Set(workers.map(({ id }) => id))
    return shares
  }
}

function read(workers: readonly WorkerHandle[]): Map<number, number> {
  const all = workers.map(({ id, eventLoopUtilization }) => [id, eventLoopUtilization] as const)
  return new Map(all.filter((entry): entry is [number, number] => entry[1] !== undefined))
}

/** The shortest period of the measurement, in milliseconds, and a little more for the precision of timers. */
const WINDOW = 1010
const MAX_PERIOD = 5000
