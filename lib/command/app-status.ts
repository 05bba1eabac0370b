import type { Pool } from '../server/pool/pool.js'
import { residentMemory } from '../server/pool/resident-memory.js'
import type { Server } from '../server/server.js'
import type { WorkerHandle } from '../server/worker/worker-handle.js'
import type { Status, WorkerStatus } from './control/control-protocol.js'

/** Returns the state of a running app. Sends nothing to workers, so that a stuck worker cannot delay the result. */
export async function appStatus(
  name: string,
  startedAt: Date,
  server: Server,
  pool: Pool<WorkerHandle>,
): Promise<Status> {
  const workers = await Promise.all(pool.workers.map(workerStatus))
  workers.sort((a, b) => (a.slot ?? 0) - (b.slot ?? 0) || a.id - b.id)
  return {
    name,
    pid: process.pid,
    startedAt: startedAt.toISOString(),
    listeners: server.addresses(),
    workers,
    stats: server.stats(),
  }
}

async function workerStatus(worker: WorkerHandle): Promise<WorkerStatus> {
  const { slot = null, id, pid = null, generation, state, since, leases, handled, restarts, thread } = worker
  return {
    slot,
    id,
    pid,
    generation,
    state,
    since: since.toISOString(),
    leases,
    handled,
    restarts,
    eventLoopUtilization: thread?.performance.eventLoopUtilization().utilization ?? null,
    memory: pid === null ? null : ((await residentMemory(pid)) ?? null),
  }
}
