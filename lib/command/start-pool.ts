import type { Pool } from '../server/pool/pool.js'
import type { Server } from '../server/server.js'
import type { WorkerHandle } from '../server/worker/worker-handle.js'
import type { RunSettings } from './settings/run-settings.js'

/** Starts the workers of an app. `env` is read at each start of a worker, so a reload takes over changes of the object. */
export function startPool(
  server: Server,
  settings: RunSettings,
  env: NodeJS.ProcessEnv,
  isPiped: boolean,
): Pool<WorkerHandle> {
  const { app, args, cwd, workers, nodeArgs, restart, maxConnections, maxMemory } = settings
  const { readyTimeout, drainTimeout, killTimeout } = settings
  return server.fork(app, {
    args,
    cwd,
    env,
    workers,
    execArgv: nodeArgs,
    restart,
    readyTimeout,
    drainTimeout,
    killTimeout,
    maxConnections,
    maxMemory,
    // A process group of its own: Ctrl-C in the terminal reaches the parent only.
    detached: true,
    // A terminal stays untouched; a file or a journal does not tell the difference.
    observeStderr: !process.stderr.isTTY,
    stdio: isPiped ? ['ignore', 'pipe', 'pipe', 'ipc'] : ['ignore', 'inherit', 'inherit', 'ipc'],
  })
}
