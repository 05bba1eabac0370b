import type { Readable } from 'node:stream'

/**
 * Keeps the last lines of a worker's standard error for the error of a failed start. They are available for threads, for processes
 * whose standard error is a pipe to this process (`stdio` or `silent`), and for processes that `spawnWorker` observes.
 */
export class StderrTail {
  #kept = ''

  /** `stderr` is null for a process that inherits it, and undefined for one that could not be started. */
  constructor(stderr: Readable | null | undefined) {
    if (!stderr) return
    // A 'data' listener makes the stream flow: a pipe that the user does not read never fills up and blocks the worker. Other
    // listeners get the same chunks.
    stderr.on('data', (chunk: Buffer | string) => {
      this.#kept = (this.#kept + chunk.toString()).slice(-MOST_CHARACTERS)
    })
  }

  /** The last lines, without the final line break. */
  get text(): string {
    return this.#kept.trimEnd().split('\n').slice(-MOST_LINES).join('\n')
  }
}

const MOST_LINES = 20
const MOST_CHARACTERS = 8192
