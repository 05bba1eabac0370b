import { hasCode, SocketServerError } from '../../errors.js'

/** The error codes of a failed start while the system is out of descriptors, processes or memory. */
const SHORTAGES = ['EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM', 'ERR_WORKER_INIT_FAILED']

/**
 * Returns whether a worker could not be started because the system is out of descriptors, processes or memory. `error` was
 * thrown by the start, or is the error of a worker that never ran. A shortage that a running worker meets does not count.
 */
export function isShortage(error: Error): boolean {
  if (SHORTAGES.some((code) => hasCode(error, code))) return true
  if (!(error instanceof SocketServerError)) return false
  // A thread that cannot be set up exits with 1 (node::Worker). A process that was not spawned has neither code nor signal.
  if (hasCode(error.cause, 'ERR_WORKER_INIT_FAILED')) return true
  const hasRun = error.exitCode !== undefined || error.signal !== undefined
  return !hasRun && SHORTAGES.some((code) => hasCode(error.cause, code))
}
