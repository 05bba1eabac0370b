import { Worker as Thread } from 'node:worker_threads'
import { type NativeServer, openChannel, openListenChannel } from '../../native.js'
import { type WorkerSettings, workerEnvironment } from '../../worker-settings.js'
import { resourceAttributes } from '../observe/resource-attributes.js'
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
    // Node also writes the thread's standard error to ours, unless `stderr: true` leaves that to the user.
    this.#tail = new StderrTail(thread.stderr)
    // `thread.threadId` becomes -1 at the exit.
    this.threadId = thread.threadId
    let cause: unknown
    // Without a listener, an uncaught error of the thread would end this process.
    thread.on('error', (error) => {
      cause = error
    })
    this.exited = new Promise((resolve) => {
      // The last output is in the stream by then, and is emitted before setImmediate().
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
 * Starts one worker thread. The worker's end of the new channel is a descriptor of this process. `closeWorkerEnd` closes it once
 * the thread has made its own copy or has exited.
 */
export function startThread(
  native: NativeServer,
  { entry, env, options, app }: ThreadPlan,
  settings: WorkerSettings,
): { channel: number; runtime: WorkerRuntime } {
  const end = openChannel(native, settings.routedSlot)
  try {
    const listenChannel = app === undefined ? 0 : openListenChannel(native, app, end.channel)
    const given = {
      ...env,
      OTEL_RESOURCE_ATTRIBUTES: resourceAttributes(env['OTEL_RESOURCE_ATTRIBUTES'], settings.slot),
    }
    const environment = workerEnvironment(given, end.fd, { ...settings, listenChannel })
    const thread = new Thread(entry, { ...options, env: environment })
    return { channel: end.channel, runtime: new ThreadRuntime(thread) }
  } catch (error) {
    native.closeWorkerEnd(end.channel)
    native.endChannel(end.channel)
    throw error
  }
}
