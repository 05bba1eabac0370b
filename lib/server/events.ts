import type { ListenAddress } from '../address.js'
import type { CutInfo, RefusedInfo, ShedInfo, StallInfo } from './stats.js'
import type { WorkerHandle, WorkerState } from './worker/worker-handle.js'

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
