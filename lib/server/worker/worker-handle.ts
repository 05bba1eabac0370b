import type { ChildProcess } from 'node:child_process'
import type { Worker as Thread } from 'node:worker_threads'

/**
 * The state of a worker.
 *
 * - `starting`: the worker runs and is not ready yet.
 * - `ready`: the worker gets connections.
 * - `draining`: the worker gets no more connections; it finishes its leases, or has disconnected and not exited yet.
 * - `exited`: the process or thread has ended.
 *
 * A worker only moves down this list.
 */
export type WorkerState = 'starting' | 'ready' | 'draining' | 'exited'

/** One worker as the parent sees it: a process or thread that the server started, or a program that joined. */
export interface WorkerHandle {
  /** Unique within the server; the first worker has 1. */
  readonly id: number
  /** The slot within the pool, 0 to n-1, which restarts and reloads keep. Undefined for a worker that joined. */
  readonly slot: number | undefined
  /** The process id. Undefined for a thread, for a process that could not be started, and in another pid namespace. */
  readonly pid: number | undefined
  /** The thread id; undefined for a process. */
  readonly threadId: number | undefined
  /** The generation within the pool, from 1; each reload starts the next. 0 for a worker that joined. */
  readonly generation: number
  /** The current state. */
  readonly state: WorkerState
  /** When the worker entered its current state. */
  readonly since: Date
  /** Connections that the worker holds now. */
  readonly leases: number
  /** Connections that the worker has taken so far. */
  readonly handled: number
  /**
   * The share of time in which the worker's event loop was busy, 0 to 1, since the last look at it that was at least a second ago.
   * Undefined before the worker has connected, and for a worker that does not measure it.
   */
  readonly eventLoopUtilization: number | undefined
  /** How many earlier workers of the same slot exited and were replaced. */
  readonly restarts: number
  /** The child process; undefined for a thread and for a worker that joined. */
  readonly process: ChildProcess | undefined
  /** The worker thread; undefined for a process. */
  readonly thread: Thread | undefined
}

/** A worker that is a child process. */
export interface ProcessHandle extends WorkerHandle {
  /** The slot within the pool, 0 to n-1. */
  readonly slot: number
  /** Undefined: the worker is a process. */
  readonly threadId: undefined
  /** The child process. */
  readonly process: ChildProcess
  /** Undefined: the worker is a process. */
  readonly thread: undefined
}

/** A worker that joined a shared path. For the server it exits when its channel ends. */
export interface JoinedHandle extends WorkerHandle {
  /** Undefined: the worker belongs to no pool. */
  readonly slot: undefined
  /** Undefined: the server did not start the worker. */
  readonly threadId: undefined
  /** Undefined: the server did not start the worker. */
  readonly process: undefined
  /** Undefined: the server did not start the worker. */
  readonly thread: undefined
  /** The shared path. */
  readonly path: string
  /** The user of the process when it connected, as the kernel reports. */
  readonly uid: number
  /** The group of the process when it connected. */
  readonly gid: number
}

/** A worker with the methods that the server calls, started or joined. */
export interface KnownWorker extends WorkerHandle {
  /** Whether the worker exceeded its drain timeout. */
  readonly isExpired: boolean
  /** Records that the worker takes no more connections, by its own choice. */
  leaving(): void
  /** Records that the channel has ended, after this many connections. */
  channelEnded(handled: number): void
}

/** A worker that is a thread of this process. */
export interface ThreadHandle extends WorkerHandle {
  /** The slot within the pool, 0 to n-1. */
  readonly slot: number
  /** Undefined: the worker is a thread. */
  readonly pid: undefined
  /** The thread id. */
  readonly threadId: number
  /** Undefined: the worker is a thread. */
  readonly process: undefined
  /** The worker thread. */
  readonly thread: Thread
}
