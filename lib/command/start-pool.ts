import type { Pool } from '../server/pool/pool.js'
import type { Server } from '../server/server.js'
import type { WorkerHandle } from '../server/worker/worker-handle.js'
import type { RunSettings } from './settings/run-settings.js'

/** Starts the workers of an app. Each start of a worker reads `env`, so a reload applies changes to the object. */
export function startPool(
  server: Server,
  settings: RunSettings,
  env: NodeJS.ProcessEnv,
  isPiped: boolean,
): Pool<WorkerHandle> {
  const { app, args, cwd, workers, threads, nodeArgs, restart, maxConnections, maxMemory, routing } = settings
  const { ready, readyTimeout, drainTimeout, killTimeout } = settings
  const common = {
    ...routing,
    args,
    env,
    workers,
    execArgv: nodeArgs,
    restart,
    ready,
    readyTimeout,
    drainTimeout,
    killTimeout,
    maxConnections,
    silent: isPiped,
  }
  if (threads) {
    // Threads share the working directory of their process.
    process.chdir(cwd)
    return server.run(app, { ...common, threads })
  }
  // Standard error becomes a pipe only if it is not a terminal, because workers detect whether they write to a terminal.
  return server.run(app, { ...common, cwd, maxMemory, observeStderr: !process.stderr.isTTY })
}
