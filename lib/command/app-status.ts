import type { Pool } from '../server/pool/pool.js'
import { residentMemory } from '../server/pool/resident-memory.js'
import type { Server } from '../server/server.js'
import type { WorkerHandle } from '../server/worker/worker-handle.js'
import type { Status, WorkerStatus } from './control/control-protocol.js'
import type { EventLoops } from './event-loops.js'

/** Returns the state of a running app. Sends nothing to workers, so a worker with a blocked event loop cannot delay the result. */
export async function appStatus(
  name: string,
  startedAt: Date,
  server: Server,
  /** Undefined before the first start. */
  pool: Pool<WorkerHandle> | undefined,
  loops: EventLoops,
): Promise<Status> {
  const handles = pool?.workers ?? []
  const utilizations = await loops.utilizations(handles)
  const workers = await Promise.all(handles.map((worker) => workerStatus(worker, utilizations.get(worker.id))))
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

async function workerStatus(worker: WorkerHandle, utilization: number | undefined): Promise<WorkerStatus> {
  const { slot = null, id, pid = null, generation, state, since, leases, handled, restarts } = worker
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
    eventLoopUtilization: utilization === undefined ? null : Math.round(utilization * 1000) / 1000,
    memory: pid === null ? null : ((await residentMemory(pid)) ?? null),
  }
}
