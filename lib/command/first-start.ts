import { hasCode } from '../errors.js'
import type { Pool } from '../server/pool/pool.js'
import type { Server } from '../server/server.js'
import type { WorkerHandle } from '../server/worker/worker-handle.js'

/**
 * Resolves when every worker of a new pool is ready, also after a repeated start. Rejects if the app cannot be started: no worker
 * has been ready yet, and a worker is not ready in time, exits with 0, or is in a crash loop.
 */
export function firstStart(server: Server, pool: Pool<WorkerHandle>, keepTrying: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let isAnyReady = false
    const fail = (error: unknown): void => {
      if (!isAnyReady && !keepTrying) reject(error)
    }
    server.on('worker', () => {
      isAnyReady = true
      if (pool.workers.filter(({ state }) => state === 'ready').length >= pool.size) resolve()
    })
    server.on('error', (error) => {
      if (hasCode(error, 'ERR_SOCKETSERVER_CRASH_LOOP')) fail(error)
    })
    pool.ready.then(resolve, (error) => {
      const isFinal = hasCode(error, 'ERR_SOCKETSERVER_READY_TIMEOUT') || Reflect.get(error, 'exitCode') === 0
      if (isFinal) fail(error)
    })
    server.once('close', resolve)
  })
}
