import type { ChildProcess } from 'node:child_process'
import type { Worker as Thread } from 'node:worker_threads'

/**
 * - `starting`: it runs and is not ready yet.
 * - `ready`: it gets connections.
 * - `draining`: it gets no more; it finishes what it holds, or has left and has not exited yet.
 * - `exited`: its process or thread is gone.
 *
 * It only moves down this list.
 */
export type WorkerState = 'starting' | 'ready' | 'draining' | 'exited'

/** One worker, seen from the parent: a process or thread that it started, or a process that has joined. */
export interface WorkerHandle {
  /** Unique within its server, from 1. */
  readonly id: number
  /** Of its process; undefined if that could not be started or is in another pid namespace, and for a thread. */
  readonly pid: number | undefined
  /** Of its thread; undefined for a process. */
  readonly threadId: number | undefined
  /** Which generation of its pool it belongs to, from 1: each reload begins another. 0 for one that has joined. */
  readonly generation: number
  readonly state: WorkerState
  /** When it entered that state. */
  readonly since: Date
  /** Connections it holds now. */
  readonly leases: number
  /** Connections it has taken so far. */
  readonly handled: number
  /** How many workers were started before it in its place in the pool, as the one there had exited. */
  readonly restarts: number
  readonly process: ChildProcess | undefined
  readonly thread: Thread | undefined
}

/** A worker that is a child process. */
export interface ProcessHandle extends WorkerHandle {
  readonly threadId: undefined
  readonly process: ChildProcess
  readonly thread: undefined
}

/** A worker that has joined at a shared path. It exits, as far as the server knows, when its channel is over. */
export interface JoinedHandle extends WorkerHandle {
  readonly threadId: undefined
  readonly process: undefined
  readonly thread: undefined
  /** Where it joined. */
  readonly path: string
  /** The user that its process ran as when it connected, as the kernel says. */
  readonly uid: number
  /** That user's group. */
  readonly gid: number
}

/** What the server itself asks of a worker, whoever started it. */
export interface KnownWorker extends WorkerHandle {
  /** Whether it has not finished what it held in the time that it was given. */
  readonly isExpired: boolean
  /** The native side says that its channel is over, after so many connections. */
  channelEnded(handled: number): void
}

/** A worker that is a thread of this process. */
export interface ThreadHandle extends WorkerHandle {
  readonly pid: undefined
  readonly threadId: number
  readonly process: undefined
  readonly thread: Thread
}
