import { promises } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { WorkerHandle } from '../server/worker/worker-handle.js'

/**
 * Measures how busy the event loops of workers are. Asks the system and not the workers, so an idle worker is not woken and a stuck
 * one cannot delay the result.
 */
export class EventLoops {
  #latest: Sample = { at: Number.NEGATIVE_INFINITY, busy: new Map() }

  /**
   * Returns the share of time, 0 to 1, in which each event loop was busy, by the id of the worker. The time is that since the
   * previous call, from `SHORTEST` to `LONGEST`: after a longer pause, or with a new worker, this call takes two samples.
   */
  async utilizations(workers: readonly WorkerHandle[]): Promise<Map<number, number>> {
    const isComplete = workers.every(({ id }) => this.#latest.busy.has(id))
    if (!isComplete || performance.now() - this.#latest.at > LONGEST) this.#latest = await sample(workers)
    const before = this.#latest
    const missing = before.at + SHORTEST - performance.now()
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

/** How long event loops have been busy so far, in milliseconds by the id of the worker. */
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
 * Returns the milliseconds in which the main thread of a process ran, or was ready to run and waited for a CPU; undefined if the
 * process has exited, and on systems without Linux's proc(5). Node's own measurement, which only the process itself can read, differs by the time in
 * which a callback waits for a disk.
 */
async function mainThreadTime(pid: number): Promise<number | undefined> {
  try {
    const [running, waiting] = (await promises.readFile(`/proc/${pid}/task/${pid}/schedstat`, 'utf8')).split(' ')
    return (Number(running) + Number(waiting)) / 1e6
  } catch {
    return undefined
  }
}

/** Milliseconds. */
const SHORTEST = 200
const LONGEST = 5000
