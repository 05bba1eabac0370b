import type { Writable } from 'node:stream'

/** The last lines of an app's output, for `socketserver logs`: at most 1000 lines and 1 MiB. */
export class LogBuffer {
  readonly #lines: Buffer[] = []
  readonly #followers = new Set<Follower>()
  #bytes = 0

  add(line: Buffer): void {
    this.#lines.push(line)
    this.#bytes += line.length
    while (this.#lines.length > MAX_LINES || this.#bytes > MAX_BYTES) this.#bytes -= this.#lines.shift()?.length ?? 0
    for (const follower of this.#followers) follower.add(line)
  }

  /** Writes the lines to a stream. With `follow`, also writes later lines until the stream closes; else ends the stream. */
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

  /** Ends the streams that follow the log. */
  close(): void {
    for (const { stream } of this.#followers) stream.end()
  }
}

/** A stream that follows the log. A slow stream misses lines. A message in the stream then states the number of skipped lines. */
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

const MAX_LINES = 1000
const MAX_BYTES = 2 ** 20
