import type { ChildProcess } from 'node:child_process'
import { StderrTail } from './stderr-tail.js'
import type { WorkerExit, WorkerRuntime } from './worker-runtime.js'

/** A worker that is a child process. */
export class ProcessRuntime implements WorkerRuntime {
  readonly process: ChildProcess
  readonly threadId = undefined
  readonly thread = undefined
  readonly exited: Promise<WorkerExit>
  readonly #tail: StderrTail

  /** `report` is called for errors that do not end the process. */
  constructor(child: ChildProcess, report: (error: Error) => void) {
    this.process = child
    this.#tail = new StderrTail(child.stderr)
    this.exited = new Promise((resolve) => {
      // At 'exit' the last output may still be in the pipe. 'close' would also wait for other processes that hold the pipe.
      child.once('exit', (code, signal) => setImmediate(() => resolve({ code, signal, cause: undefined })))
      child.on('error', (error) => {
        // Without a pid the process was never started, and there will be no 'exit'.
        if (child.pid === undefined) resolve({ code: null, signal: null, cause: error })
        else report(error)
      })
    })
  }

  get pid(): number | undefined {
    return this.process.pid
  }

  get lastLines(): string {
    return this.#tail.text
  }

  terminate(): void {
    this.process.kill('SIGTERM')
  }

  kill(): void {
    this.process.kill('SIGKILL')
  }

  reference(isReferenced: boolean): void {
    const change = isReferenced ? 'ref' : 'unref'
    this.process[change]()
    this.process.channel?.[change]()
  }
}
