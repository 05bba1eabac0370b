import { type InspectOptions, inspect } from 'node:util'
import type { WorkerHandle } from './worker-handle.js'

/** Returns what `console.log()` of a worker's handle prints. */
export function describeWorker(worker: WorkerHandle, options: InspectOptions): string {
  const { id, slot, pid, threadId, generation, state, leases, handled, restarts } = worker
  const where = threadId === undefined ? { pid } : { threadId }
  return `Worker ${inspect({ id, slot, ...where, generation, state, leases, handled, restarts }, options)}`
}
