import type { Pool } from '../server/pool/pool.js'
import type { Server } from '../server/server.js'
import type { WorkerHandle } from '../server/worker/worker-handle.js'

/**
 * Resolves when every worker of a new pool is ready, also after a repeated start. Rejects if the app cannot be started: a worker
 * fails before any worker has been ready. `keepTrying` leaves such a failure to the pool, which starts the worker again.
 */
export function firstStart(server: Server, pool: Pool<WorkerHandle>, keepTrying: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let isAnyReady = false
    server.on('worker', () => {
      isAnyReady = true
      if (pool.workers.filter(({ state }) => state === 'ready').length >= pool.size) resolve()
    })
    pool.ready.then(resolve, (error) => {
      if (!isAnyReady && !keepTrying) reject(error)
    })
    server.once('close', resolve)
  })
}
