import type { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import type { ConnectionInfo } from './client/connection.js'
import type { ListenAddress } from './server/address.js'
import type { ShedInfo } from './server/stats.js'
import type { WorkerHandle } from './server/worker-handle.js'

/** The events of a server, with their arguments. */
export interface ServerEvents {
  /** A listener is open. */
  listening: [address: ListenAddress]
  /** A worker has connected. */
  worker: [worker: WorkerHandle]
  /** A worker's process is gone; both null if it could not be started. */
  exit: [worker: WorkerHandle, code: number | null, signal: NodeJS.Signals | null]
  /** A connection was given up before a worker had it. */
  shed: [info: ShedInfo]
  /** Something failed that the server lives with. Without a listener it becomes a process warning. */
  error: [error: Error]
  /** The server has closed and its workers are gone. */
  close: []
}

/** The events of a client, with their arguments. */
export interface ClientEvents {
  /** A connection has come; while there is a listener, and `concurrency` allows, they come unasked. */
  connection: [socket: Socket, info: ConnectionInfo]
  /** The server drains or this worker has been retired: end what idles. */
  drain: []
  /** Something failed that the client lives with. Without a listener it becomes a process warning. */
  error: [error: Error]
  /** No connection will come any more and the last lease is over. */
  close: []
}

/**
 * Tells of an error that has not ended anything. An `error` event that nobody listens to would end the process,
 * which is out of proportion for an accept that failed: then it is a warning.
 */
export function report(emitter: EventEmitter, error: Error): void {
  if (emitter.listenerCount('error') > 0) emitter.emit('error', error)
  else process.emitWarning(error)
}
