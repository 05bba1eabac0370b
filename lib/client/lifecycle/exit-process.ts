import { isMainThread, parentPort } from 'node:worker_threads'
import type { WorkerSettings } from '../../worker-settings.js'
import { endBySignal, handlesShutdown, signalShutdown } from './parent-signals.js'

/**
 * Lets this worker exit after its parent has retired it or died. Messages from the parent no longer keep the process alive.
 *
 * With `signals`, the process sends SIGTERM to itself to run the application's shutdown handlers. The parent cannot do this: it
 * does not know whether there are handlers, and without one SIGTERM would kill work in progress. If the process stays alive for too
 * long and has no parent to kill it, the process calls `process.exit()`.
 */
export function leaveProcess(settings: WorkerSettings, { signals }: { signals: boolean }): void {
  const { killTimeout, listenChannel } = settings
  parentPort?.unref()
  // An app that does not know this package ends as it does without a parent: a thread exits, a process ends by SIGTERM.
  const isUnaware = listenChannel > 0
  if (!isMainThread) {
    if (isUnaware) process.exit()
    return
  }
  process.channel?.unref()
  if (signals && handlesShutdown()) signalShutdown()
  else if (signals && isUnaware) endBySignal()
  // A living parent has sent SIGTERM and SIGKILL by then.
  setTimeout(() => process.exit(), 2 * killTimeout + PARENT_GRACE).unref()
}

/** Milliseconds by which a busy parent may be late. */
const PARENT_GRACE = 1000
