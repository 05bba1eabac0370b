import type { Readable } from 'node:stream'

/**
 * Remembers the last lines of a worker's standard error, for the error that says why it could not start: of a thread, of a
 * process whose standard error is a pipe to this one, by `stdio` or `silent`, and of one that `spawnWorker` observes.
 */
export class StderrTail {
  #kept = ''

  /** Null for one that is somebody else's; a process that could not be started has none at all. */
  constructor(stderr: Readable | null | undefined) {
    if (!stderr) return
    // By 'readable' nothing would be read on behalf of the user, but nothing seen either: so what is read here is put
    // through as it is, to whoever listens, and a stream that nobody else reads does not fill up and stop its worker.
    stderr.on('data', (chunk: Buffer | string) => {
      this.#kept = (this.#kept + chunk.toString()).slice(-MOST_CHARACTERS)
    })
  }

  get text(): string {
    return this.#kept.trimEnd().split('\n').slice(-MOST_LINES).join('\n')
  }
}

const MOST_LINES = 20
const MOST_CHARACTERS = 8192
