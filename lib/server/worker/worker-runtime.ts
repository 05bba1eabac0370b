import type { ChildProcess } from 'node:child_process'
import type { Worker as Thread } from 'node:worker_threads'

/** How a worker ended: an exit code or, for a process that was killed, a signal. Both null: it could not be started. */
export interface WorkerExit {
  code: number | null
  signal: NodeJS.Signals | null
  /** What went wrong, where that is known: it could not be started, or an error in a thread was not caught. */
  cause: unknown
}

/** What a worker lives in: a child process or a thread. */
export interface WorkerRuntime {
  readonly pid: number | undefined
  readonly threadId: number | undefined
  readonly process: ChildProcess | undefined
  readonly thread: Thread | undefined
  /** Resolves when it is gone. */
  readonly exited: Promise<WorkerExit>
  /** The last lines of its standard error; empty where that is not for us to read. */
  readonly lastLines: string
  /** Has it end: SIGTERM. A thread can only be stopped, at whatever it does. */
  terminate(): void
  /** Ends it now. */
  kill(): void
  /** Whether it keeps this process alive; it does from the start. */
  reference(isReferenced: boolean): void
}

/** `process 4711` or `thread 3`, for messages. */
export function runtimeName({ pid, threadId }: Pick<WorkerRuntime, 'pid' | 'threadId'>): string {
  return threadId === undefined ? `pid ${pid}` : `thread ${threadId}`
}
