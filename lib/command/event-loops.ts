import { promises } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { WorkerHandle } from '../server/worker/worker-handle.js'

/**
 * Measures how busy the event loops of workers are. Asks the system and not the workers, so the measurement neither wakes an idle
 * worker nor waits for a blocked event loop.
 */
export class EventLoops {
  #latest: Sample = { at: Number.NEGATIVE_INFINITY, busy: new Map() }

  /**
   * Returns the share of time, 0 to 1, in which each event loop was busy, by the id of the worker. The period begins at the
   * previous call and lasts from `MIN_PERIOD` to `MAX_PERIOD`. After a longer pause, or with a new worker, this call takes two
   * samples.
   */
  async utilizations(workers: readonly WorkerHandle[]): Promise<Map<number, number>> {
    const isComplete = workers.every(({ id }) => this.#latest.busy.has(id))
    if (!isComplete || performance.now() - this.#latest.at > MAX_PERIOD) this.#latest = await sample(workers)
    const before = this.#latest
    const missing = before.at + MIN_PERIOD - performance.now()
    if (missing > 0) await delay(missing)
    const now = await sample(workers)
    this.#latest = now
    const shares = new Map<number, number>()
    for (const [id, busy] of now.busy) {
      const earlier = before.busy.get(id)
      if (earlier !== undefined) shares.set(id, Math.min(1, Math.max(0, (busy - earlier) / (now.at - before.at))))
    }
    return shares
  }
}

/** The total busy time of event loops, in milliseconds by the id of the worker. */
interface Sample {
  at: number
  busy: Map<number, number>
}

async function sample(workers: readonly WorkerHandle[]): Promise<Sample> {
  const at = performance.now()
  const all = await Promise.all(workers.map(async (worker) => [worker.id, await busyTime(worker)] as const))
  return { at, busy: new Map(all.filter((entry): entry is [number, number] => entry[1] !== undefined)) }
}

async function busyTime({ pid, thread }: WorkerHandle): Promise<number | undefined> {
  if (thread !== undefined) return thread.performance.eventLoopUtilization().active
  return pid === undefined ? undefined : await mainThreadTime(pid)
}

/**
 * Returns the milliseconds in which the main thread of a process ran, or was ready to run and waited for a CPU. Returns undefined
 * if the process has exited, and on systems without Linux's proc(5). Only the process itself can read Node's own measurement, which
 * also includes the time in which a callback waits for a disk.
 */
async function mainThreadTime(pid: number): Promise<number | undefined> {
  try {
    const [running, waiting] = (await promises.readFile(`/proc/${pid}/task/${pid}/schedstat`, 'utf8')).split(' ')
    return (Number(running) + Number(waiting)) / 1e6
  } catch {
    return undefined
  }
}

/** The length of a measurement, in milliseconds. */
const MIN_PERIOD = 200
const MAX_PERIOD = 5000
