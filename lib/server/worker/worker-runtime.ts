import type { ChildProcess } from 'node:child_process'
import type { Worker as Thread } from 'node:worker_threads'

/** How a worker exited: with a code, or by a signal. Both are null if it could not be started. */
export interface WorkerExit {
  code: number | null
  signal: NodeJS.Signals | null
  /** The error of a failed start, or the uncaught error of a thread; otherwise undefined. */
  cause: unknown
}

/** The child process or thread of a worker. */
export interface WorkerRuntime {
  readonly pid: number | undefined
  readonly threadId: number | undefined
  readonly process: ChildProcess | undefined
  readonly thread: Thread | undefined
  /** Resolves when the process or thread has exited. */
  readonly exited: Promise<WorkerExit>
  /** The last lines of standard error; empty if the parent does not read it. */
  readonly lastLines: string
  /** Sends SIGTERM to a process. Terminates a thread, which cannot be asked. */
  terminate(): void
  /** Sends SIGKILL to a process. Terminates a thread. */
  kill(): void
  /** Sets whether the worker keeps this process alive, which is the default. */
  reference(isReferenced: boolean): void
}

/** Returns `pid 4711` or `thread 3`, for messages. */
export function runtimeName({ pid, threadId }: Pick<WorkerRuntime, 'pid' | 'threadId'>): string {
  return threadId === undefined ? `pid ${pid}` : `thread ${threadId}`
}
