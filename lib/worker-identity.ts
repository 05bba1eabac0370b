// The identity of this process or thread: whether a server started it, and as which worker.

import { fstatSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { CHANNEL_VARIABLE } from './channel-variable.js'
import { SocketServerError } from './errors.js'
import { nativeSessionId } from './native.js'
import { readSettings, SETTINGS_VARIABLE } from './worker-settings.js'

/** Identifies a worker that a server started. */
export interface WorkerIdentity {
  /** Unique within the server; the same as `id` of the worker's handle. */
  readonly id: number
  /** The slot within the pool, 0 to n-1. Restarts and reloads keep the slot. Also `NODE_APP_INSTANCE` in processes. */
  readonly slot: number
  /** The generation within the pool, from 1; each reload starts the next. */
  readonly generation: number
}

const settings = startedByServer() ? readSettings(process.env[SETTINGS_VARIABLE]) : undefined

/**
 * The identity of this worker; undefined in a process or thread that no server started. Read when the package is loaded, so
 * that one file can be both parent and worker.
 */
export const worker: WorkerIdentity | undefined =
  settings && Object.freeze({ id: settings.id, slot: settings.slot, generation: settings.generation })

/** Whether a server started this process or thread. True before and after `connect()`. */
export const isWorker: boolean = worker !== undefined

/**
 * Returns a new session id that names this worker's slot, so that a listener with `sticky: { query }`, `{ cookie }` or `{ header }`
 * brings the session back to the slot. With socket.io: `io.engine.generateId = sessionId`. In a process or thread that no server
 * started, the id is random and names no slot.
 */
export function sessionId(): string {
  const random = crypto.getRandomValues(new Uint8Array(13))
  sessionKey ??=
    settings === undefined || settings.sessionKey === ''
      ? crypto.getRandomValues(new Uint8Array(16))
      : Buffer.from(settings.sessionKey, 'base64')
  return nativeSessionId(sessionKey, settings?.routedSlot ?? 0, random)
}

let sessionKey: Uint8Array | undefined

/** Records that this worker has called `connect()`. From now on it may start any file. */
export function markConnected(): void {
  hasConnected = true
}

/** Throws ERR_SOCKETSERVER_FORK_LOOP if this worker runs `entry` itself and has not connected: the file would start itself forever. */
export function forbidForkLoop(entry: string, call: string): void {
  if (settings === undefined || hasConnected || fileOf(entry) !== fileOf(settings.entry)) return
  throw new SocketServerError(
    'ERR_SOCKETSERVER_FORK_LOOP',
    `${call} of '${entry}' in a worker that runs the same file would start workers without end. A file that is both parent and ` +
      "worker needs a branch: import { isWorker } from '@socketserver/node', and call connect() if isWorker, else createServer()",
  )
}

let hasConnected = false

/**
 * Returns whether a server started this process or thread. The variables alone do not prove it: a child of a worker inherits
 * them, but not the descriptor, because Node marks inherited descriptors close-on-exec.
 */
function startedByServer(): boolean {
  const text = process.env[CHANNEL_VARIABLE]
  if (text === undefined || process.env[SETTINGS_VARIABLE] === undefined) return false
  if (!isMainThread && !readSettings(process.env[SETTINGS_VARIABLE]).isThread) return false
  try {
    // As bigint: after a number-valued stat of a socket, realpath() resolves no symbolic link below a folder that it knows already,
    // because it takes that result for its own (fs.realpathSync in Node's lib/fs.js). So require() would load `.bin/next` in `.bin`.
    return fstatSync(Number(text), { bigint: true }).isSocket()
  } catch {
    return false
  }
}

/** Returns the file that Node runs for an entry, which may be a link and may lack the extension. */
function fileOf(entry: string): string {
  try {
    return realpathSync(createRequire(join(entry, '..', 'entry.js')).resolve(entry))
  } catch {
    return entry
  }
}
