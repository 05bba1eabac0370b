import type { ListenAddress } from '../address.js'
import type { CutInfo, RefusedInfo, ShedInfo, StallInfo } from './stats.js'
import type { WorkerHandle, WorkerState } from './worker/worker-handle.js'

/** The events of a server, with their arguments. */
export interface ServerEvents {
  /** A listener has been opened. */
  listening: [address: ListenAddress]
  /** A worker has been started. It is not ready yet. */
  start: [worker: WorkerHandle]
  /** A worker is ready. */
  worker: [worker: WorkerHandle]
  /** A worker has changed its state; `from` is the previous state. `worker` and `exit` also report `ready` and `exited`. */
  transition: [worker: WorkerHandle, from: WorkerState]
  /**
   * A worker's process or thread has exited. `code` and `signal` are both null if it could not be started, and for a worker that
   * joined, whose channel has ended.
   */
  exit: [worker: WorkerHandle, code: number | null, signal: NodeJS.Signals | null]
  /** A program was refused at a shared path. */
  refused: [info: RefusedInfo]
  /** A worker's event loop has not turned for the pool's `stallTimeout`. Emitted once per stall. */
  stall: [worker: WorkerHandle, info: StallInfo]
  /** Connections ended because their worker did. */
  cut: [worker: WorkerHandle, info: CutInfo]
  /** A connection was reset before a worker took it. */
  shed: [info: ShedInfo]
  /** A failure that the server survives. Without a listener it becomes a process warning. */
  error: [error: Error]
  /** The server has closed and its workers have exited. */
  close: []
}
