// Runs in a WORKER of `server.run()`, before the app. The parent's counterpart is server/pool/run-options.ts.

import { isMainThread } from 'node:worker_threads'
import { parentChannel } from '../client/connect.js'
import { listenChannel } from '../native.js'
import { readSettings, SETTINGS_VARIABLE } from '../worker-settings.js'
import { replaceCluster } from './cluster.js'
import { Listeners } from './listeners.js'
import { watchOwnListeners } from './own-listeners.js'
import { RunWorker } from './run-worker.js'

/** Makes the app listen through the parent if `server.run()` started this worker. */
export function start(): void {
  const settings = readSettings(process.env[SETTINGS_VARIABLE])
  if (settings.listenChannel === 0 || (!isMainThread && !settings.isThread)) return
  const native = listenChannel(settings.listenChannel, { borrowed: settings.isThread })
  const worker = new RunWorker(parentChannel())
  const listeners = new Listeners(native, worker)
  replaceCluster(settings.id, listeners)
  watchOwnListeners(listeners.isShared, () => worker.listens())
  worker.start()
}
