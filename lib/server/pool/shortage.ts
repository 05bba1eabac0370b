import { hasCode, SocketServerError } from '../../errors.js'

/** What starting a process or a thread fails with while the system is out of descriptors, processes or memory. */
const SHORTAGES = ['EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM', 'ERR_WORKER_INIT_FAILED']

/**
 * Whether a worker could not be started because the system is out of descriptors, processes or memory: `error` was thrown
 * by the start, or is the error of a worker that never ran. A worker that meets a shortage of its own while it runs has failed.
 */
export function isShortage(error: Error): boolean {
  if (SHORTAGES.some((code) => hasCode(error, code))) return true
  if (!(error instanceof SocketServerError)) return false
  // A thread that cannot be set up exits with 1 (node::Worker), a process that was not spawned has neither code nor signal.
  if (hasCode(error.cause, 'ERR_WORKER_INIT_FAILED')) return true
  const hasRun = error.exitCode !== undefined || error.signal !== undefined
  return !hasRun && SHORTAGES.some((code) => hasCode(error.cause, code))
}
