import type { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import type { Connection } from './client/connection.js'
import type { DrainInfo } from './client/ending.js'
import type { JoinedInfo, LostInfo } from './client/service.js'
import type { ListenAddress } from './server/address.js'
import type { CutInfo, RefusedInfo, ShedInfo, StallInfo } from './server/stats.js'
import type { WorkerHandle, WorkerState } from './server/worker-handle.js'

/** The events of a server, with their arguments. */
export interface ServerEvents {
  /** A listener is open. */
  listening: [address: ListenAddress]
  /** A worker has been started; it is not ready yet. */
  start: [worker: WorkerHandle]
  /** A worker is ready. */
  worker: [worker: WorkerHandle]
  /** A worker has gone to another state, from this one; `ready` and `exited` are told by `worker` and `exit`, too. */
  transition: [worker: WorkerHandle, from: WorkerState]
  /**
   * A worker's process or thread is gone; both null if it could not be started. Of a worker that has joined it is the channel
   * that is over, and both are null.
   */
  exit: [worker: WorkerHandle, code: number | null, signal: NodeJS.Signals | null]
  /** What connected to a shared path was not let in, and told why. */
  refused: [info: RefusedInfo]
  /** A worker's event loop has not turned for its pool's `stallTimeout`; told once a stall. */
  stall: [worker: WorkerHandle, info: StallInfo]
  /** Connections have ended because their worker did. */
  cut: [worker: WorkerHandle, info: CutInfo]
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
  connection: [socket: Socket, connection: Connection]
  /** This worker is to end what idles: the server drains, has retired this worker, or has died. Told once. */
  drain: [info: DrainInfo]
  /** Of a client with a path: the server has let this worker in, the first time or again. */
  joined: [info: JoinedInfo]
  /** Of a client with a path: there is no server, or not any more, and it will be tried again. Leases go on. */
  lost: [info: LostInfo]
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
