// The errors of workers that exit, are late, or are retired before they are ready.

import { type ErrorDetails, SocketServerError } from '../../errors.js'
import { listenersOf } from './own-listeners.js'
import type { Readiness } from './readiness.js'
import { runtimeName, type WorkerExit, type WorkerRuntime } from './worker-runtime.js'

/** The properties of a worker that its errors mention. */
interface StartedWorker {
  id: number
  entry: string
  runtime: Pick<WorkerRuntime, 'pid' | 'threadId' | 'lastLines'>
  readyTimeout: number
  readiness: Readiness
}

/** Returns the error of an exited worker, with its exit code or signal and its last lines. */
export function exitError(worker: StartedWorker, exit: WorkerExit, wasReady: boolean): SocketServerError {
  const { id, entry, runtime, readiness } = worker
  const { code, signal, cause } = exit
  const reason = cause instanceof Error ? `: ${cause.message}` : ''
  const how = signal !== null ? `was killed by ${signal}` : `exited with code ${code}`
  const when = wasReady ? '' : ` before it had ${readiness.done}`
  const message =
    code === null && signal === null
      ? `Worker ${id} (${entry}) could not be started${reason}`
      : `Worker ${id} (${entry}, ${runtimeName(runtime)}) ${how}${when}${reason}${lastLines(worker)}`
  return new SocketServerError('ERR_SOCKETSERVER_WORKER_EXITED', message, {
    ...details(worker),
    exitCode: code ?? undefined,
    signal: signal ?? undefined,
    cause,
  })
}

/** Returns the error of a worker that was not ready in time. The message names the missing call and the worker's own listeners. */
export async function readyTimeoutError(worker: StartedWorker): Promise<SocketServerError> {
  const { id, entry, runtime, readyTimeout } = worker
  const reason = notReadyReason(worker, await listenersOf(runtime.pid))
  const message = `Worker ${id} (${entry}, ${runtimeName(runtime)}) was not ready within ${readyTimeout} ms: ${reason}${lastLines(worker)}`
  return new SocketServerError('ERR_SOCKETSERVER_READY_TIMEOUT', message, details(worker))
}

/** Returns the error of a worker that was retired before it was ready. */
export function retiredError({ id, runtime }: StartedWorker): SocketServerError {
  const message = `Worker ${id} was retired before it had connected`
  return new SocketServerError('ERR_SOCKETSERVER_CLOSED', message, { pid: runtime.pid, threadId: runtime.threadId })
}

function notReadyReason({ readiness: { missing } }: StartedWorker, listeners: readonly string[]): string {
  if (listeners.length === 0) return `it has not ${missing}`
  const where = listeners.join(', ')
  return `it listens itself, on ${where}, and has not ${missing}: replace server.listen() by connect().serve(server)`
}

function details({ runtime: { pid, threadId, lastLines } }: StartedWorker): ErrorDetails {
  return { pid, threadId, stderr: lastLines === '' ? undefined : lastLines }
}

function lastLines({ runtime }: StartedWorker): string {
  return runtime.lastLines === '' ? '' : `. Its last lines:\n${runtime.lastLines}`
}
