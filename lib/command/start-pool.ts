import type { Pool } from '../server/pool/pool.js'
import type { Server } from '../server/server.js'
import type { WorkerHandle } from '../server/worker/worker-handle.js'
import type { RunSettings } from './settings/run-settings.js'

/** Starts the workers of an app. Each start of a worker reads `env`, so a reload applies changes of the object. */
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
    // In a process group of its own, so that Ctrl-C in the terminal reaches only the parent.
    detached: true,
    // With a pipe, the worker's standard error would no longer be a terminal. For a file or a journal there is no difference.
    observeStderr: !process.stderr.isTTY,
    stdio: isPiped ? ['ignore', 'pipe', 'pipe', 'ipc'] : ['ignore', 'inherit', 'inherit', 'ipc'],
  })
}
