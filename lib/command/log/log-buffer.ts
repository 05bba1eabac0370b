import type { Writable } from 'node:stream'

/** The last lines of an app's output, for `socketserver logs`: at most 1000 lines and 1 MiB. */
export class LogBuffer {
  readonly #lines: Buffer[] = []
  readonly #followers = new Set<Follower>()
  #bytes = 0

  add(line: Buffer): void {
    this.#lines.push(line)
    this.#bytes += line.length
    while (this.#lines.length > MOST_LINES || this.#bytes > MOST_BYTES) this.#bytes -= this.#lines.shift()?.length ?? 0
    for (const follower of this.#followers) follower.add(line)
  }

  /** Writes the lines to a stream and, to follow them, every later one until the stream closes; ends it otherwise. */
  send(stream: Writable, follow: boolean): void {
    for (const line of this.#lines) stream.write(line)
    if (!follow) {
      stream.end()
      return
    }
    const follower = new Follower(stream)
    this.#followers.add(follower)
    stream.once('close', () => this.#followers.delete(follower))
  }

  /** Ends the streams of those who follow. */
  close(): void {
    for (const { stream } of this.#followers) stream.end()
  }
}

/** Somebody who follows the log. A slow one loses lines, and is told how many. */
class Follower {
  readonly stream: Writable
  #skipped = 0

  constructor(stream: Writable) {
    this.stream = stream
  }

  add(line: Buffer): void {
    if (this.stream.writableNeedDrain) {
      this.#skipped += 1
      return
    }
    if (this.#skipped > 0) this.stream.write(`... ${this.#skipped} lines skipped\n`)
    this.#skipped = 0
    this.stream.write(line)
  }
}

const MOST_LINES = 1000
const MOST_BYTES = 2 ** 20
