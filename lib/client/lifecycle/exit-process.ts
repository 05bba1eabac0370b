import { isMainThread, parentPort } from 'node:worker_threads'
import type { WorkerSettings } from '../../worker-settings.js'

/**
 * The work of this worker is over, by its parent's wish or as its parent has died, and it is to exit by itself. One that
 * listens to its parent's messages would not, so that is no reason to stay any more; it can still send. And where something
 * else holds it for too long, there may be no parent left to send a signal, so it ends itself after that time.
 */
export function leaveProcess({ killTimeout }: WorkerSettings): void {
  parentPort?.unref()
  if (!isMainThread) return
  process.channel?.unref()
  // A parent that lives has sent SIGTERM and SIGKILL by then.
  setTimeout(() => process.exit(), 2 * killTimeout + PARENT_GRACE).unref()
}

/** Milliseconds that a parent which is busy may be late. */
const PARENT_GRACE = 1000
