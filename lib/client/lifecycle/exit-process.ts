import { isMainThread, parentPort } from 'node:worker_threads'
import type { WorkerSettings } from '../../worker-settings.js'
import { handlesShutdown, signalShutdown } from './parent-signals.js'

/**
 * Lets this worker exit after its parent has retired it or died. Messages from the parent no longer keep the process alive.
 *
 * With `signals`, the process sends SIGTERM to itself to run the application's shutdown handlers. The parent cannot do this: it
 * does not know whether there are handlers, and without one SIGTERM would kill work in progress. If something keeps the process
 * alive for too long and there is no parent to kill it, the process exits itself.
 */
export function leaveProcess({ killTimeout }: WorkerSettings, { signals }: { signals: boolean }): void {
  parentPort?.unref()
  if (!isMainThread) return
  process.channel?.unref()
  if (signals && handlesShutdown()) signalShutdown()
  // A living parent has sent SIGTERM and SIGKILL by then.
  setTimeout(() => process.exit(), 2 * killTimeout + PARENT_GRACE).unref()
}

/** Milliseconds by which a busy parent may be late. */
const PARENT_GRACE = 1000
