import { hasCode } from '../errors.js'
import type { Pool } from '../server/pool/pool.js'
import type { Server } from '../server/server.js'
import type { WorkerHandle } from '../server/worker/worker-handle.js'

/**
 * Resolves to true when every worker of a new pool is ready, even if a worker had to be started again. Resolves to false if the
 * server closes first. Rejects if a worker fails before any worker has been ready. Other failures, and every failure with
 * `keepTrying`, are reported, and the pool starts the worker again.
 */
export function firstStart(
  server: Server,
  pool: Pool<WorkerHandle>,
  keepTrying: boolean,
  report: (error: unknown) => void,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let isAnyReady = false
    server.on('worker', () => {
      isAnyReady = true
      if (pool.workers.filter(({ state }) => state === 'ready').length >= pool.size) resolve(true)
    })
    const failed = (error: unknown): void => {
      // A signal or `stop` has closed the server.
      if (hasCode(error, 'ERR_SOCKETSERVER_CLOSED')) return
      if (isAnyReady || keepTrying) report(error)
      else reject(error)
    }
    pool.ready.then(() => resolve(true), failed)
    server.once('close', () => resolve(false))
  })
}
