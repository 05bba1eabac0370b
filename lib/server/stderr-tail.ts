import type { Readable } from 'node:stream'

/**
 * Remembers the last lines of a worker's standard error, for the error that says why it could not start.
 *
 * Only where that is a pipe to this process, by `stdio` or `silent`. By default a worker inherits standard error and its
 * lines appear there by themselves. Reading them in between would take the terminal from it (no colours, no `isTTY`),
 * have a worker that logs wait for a parent that is busy, and kill it by EPIPE when the parent has died.
 */
export class StderrTail {
  #kept = ''

  constructor(stderr: Readable | null) {
    if (stderr === null) return
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
