import { isMainThread, parentPort } from 'node:worker_threads'
import type { WorkerSettings } from '../../worker-settings.js'
import { handlesShutdown, signalShutdown } from './parent-signals.js'

/**
 * Lets this worker exit: its parent has retired it, or has died. Messages from the parent no longer keep it alive. With
 * `signals`, the shutdown handlers of the application run by a SIGTERM that this process sends to itself, as nobody else knows
 * whether there are any: without one, SIGTERM would end work that is not over. Where something keeps the process for too long
 * and no parent is left to send a signal, the process ends itself.
 */
export function leaveProcess({ killTimeout }: WorkerSettings, { signals }: { signals: boolean }): void {
  parentPort?.unref()
  if (!isMainThread) return
  process.channel?.unref()
  if (signals && handlesShutdown()) signalShutdown()
  // A parent that lives has sent SIGTERM and SIGKILL by then.
  setTimeout(() => process.exit(), 2 * killTimeout + PARENT_GRACE).unref()
}

/** Milliseconds that a parent which is busy may be late. */
const PARENT_GRACE = 1000
