import { Worker as Thread } from 'node:worker_threads'
import { type NativeServer, openChannel } from '../../native.js'
import { type WorkerSettings, workerEnvironment } from '../../worker-settings.js'
import type { ThreadPlan } from '../pool/thread-options.js'
import { StderrTail } from './stderr-tail.js'
import type { WorkerExit, WorkerRuntime } from './worker-runtime.js'

/** A worker that is a thread of this process. */
export class ThreadRuntime implements WorkerRuntime {
  readonly thread: Thread
  readonly threadId: number
  readonly pid = undefined
  readonly process = undefined
  readonly exited: Promise<WorkerExit>

  readonly #tail: StderrTail

  constructor(thread: Thread) {
    this.thread = thread
    // Node carries it to our own standard error in any case, unless `stderr: true` leaves that to the user.
    this.#tail = new StderrTail(thread.stderr)
    // The thread's own property becomes -1 once it has exited.
    this.threadId = thread.threadId
    let cause: unknown
    // Listened to in any case: unheard, an error that a worker did not catch would end the whole process.
    thread.on('error', (error) => {
      cause = error
    })
    this.exited = new Promise((resolve) => {
      // What it wrote last is in its stream by then, and shown to whoever listens a moment later.
      thread.once('exit', (code) => setImmediate(() => resolve({ code, signal: null, cause })))
    })
  }

  get lastLines(): string {
    return this.#tail.text
  }

  terminate(): void {
    void this.thread.terminate()
  }

  kill(): void {
    void this.thread.terminate()
  }

  reference(isReferenced: boolean): void {
    if (isReferenced) this.thread.ref()
    else this.thread.unref()
  }
}

/**
 * Starts one worker's thread. Its end of a new channel stays a descriptor of this process and is closed here, by
 * `closeWorkerEnd`, once the thread has made its own copy or has exited.
 */
export function startThread(
  native: NativeServer,
  { entry, env, options }: ThreadPlan,
  settings: WorkerSettings,
): { channel: number; runtime: WorkerRuntime } {
  const end = openChannel(native)
  try {
    const thread = new Thread(entry, { ...options, env: workerEnvironment(env, end.fd, settings) })
    return { channel: end.channel, runtime: new ThreadRuntime(thread) }
  } catch (error) {
    native.closeWorkerEnd(end.channel)
    native.endChannel(end.channel)
    throw error
  }
}
