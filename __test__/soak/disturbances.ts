// Disturbs a pool without pause while clients send requests: reloads, resizes, and kills of random workers.

import { setTimeout as delay } from 'node:timers/promises'
import type { Pool, Server, WorkerHandle } from '@socketserver/node'
import { until } from '../helpers/until.js'
import { readHoldings, workerName } from './held-connections.js'
import type { Kill } from './verdict.js'

export interface Disturbances {
  reloads: number
  /** Reloads that failed because a worker of the new generation was killed. */
  failedReloads: number
  resizes: number
  kills: Kill[]
}

/** Disturbs a pool until `over` settles. Then closes the server, so that all cut connections have been reported. */
export async function disturb(
  server: Server,
  pool: Pool<WorkerHandle>,
  over: Promise<unknown>,
  { directory, withKills }: { directory: string; withKills: boolean },
): Promise<Disturbances> {
  let isOver = false
  const stop = (): void => {
    isOver = true
  }
  over.then(stop, stop)
  const done: Disturbances = { reloads: 0, failedReloads: 0, resizes: 0, kills: [] }
  const cuts = new Map<number, number>()
  server.on('cut', ({ id }, { connections }) => cuts.set(id, (cuts.get(id) ?? 0) + connections))
  const killed = new Set<number>()

  const reload = async (): Promise<void> => {
    while (!isOver) {
      await pool.reload({ atOnce: 2 }).then(
        () => (done.reloads += 1),
        () => (done.failedReloads += 1),
      )
    }
  }
  const resize = async (): Promise<void> => {
    for (const size of alternately(6, 3)) {
      if (isOver) return
      // resize() to a larger size rejects if a new worker is killed before it is ready.
      await pool.resize(size).catch(() => {})
      done.resizes += 1
    }
  }
  const kill = async (): Promise<void> => {
    for (;;) {
      await delay(100 + Math.random() * 400)
      if (isOver || !withKills) return
      const ready = pool.workers.filter(({ state }) => state === 'ready')
      const victim = ready[Math.floor(Math.random() * ready.length)]
      if (victim === undefined || ready.length < 2) continue
      const worker = workerName(victim)
      killed.add(victim.id)
      const from = Date.now()
      end(victim, done.kills.length)
      await until(() => victim.state === 'exited')
      done.kills.push({ worker, from, until: Date.now(), ...readHoldings(directory, worker), cut: victim.id })
    }
  }
  await Promise.all([reload(), resize(), kill()])
  await until(() => server.stats().leases === 0)
  await server.close()
  for (const entry of done.kills) entry.cut = cuts.get(entry.cut ?? 0) ?? 0
  const others = [...cuts].filter(([id]) => !killed.has(id))
  if (others.length > 0) throw new Error(`Workers that were not killed have cut connections: ${JSON.stringify(others)}`)
  return done
}

/** Ends a worker at once: a process by SIGKILL, a thread by terminate() and by process.exit() in turn. */
function end({ process: child, thread }: WorkerHandle, index: number): void {
  child?.kill('SIGKILL')
  if (index % 2 === 0) void thread?.terminate()
  else thread?.postMessage('exit')
}

function* alternately<T>(...values: T[]): Generator<T, never> {
  for (;;) yield* values
}
