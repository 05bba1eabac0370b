import { Transform, type TransformCallback } from 'node:stream'

/** Splits a stream of bytes into lines. Each chunk that it emits is one unchanged line with its newline. */
export class LineSplitter extends Transform {
  #rest: Buffer = Buffer.alloc(0)

  constructor() {
    super({ readableObjectMode: true })
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    let rest: Buffer = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    for (let end = rest.indexOf(NEWLINE); end !== -1; end = rest.indexOf(NEWLINE)) {
      this.push(rest.subarray(0, end + 1))
      rest = rest.subarray(end + 1)
    }
    if (rest.length >= MAX_LINE_LENGTH) {
      this.#end(rest)
      rest = Buffer.alloc(0)
    }
    this.#rest = rest
    done()
  }

  override _flush(done: TransformCallback): void {
    if (this.#rest.length > 0) this.#end(this.#rest)
    done()
  }

  #end(line: Buffer): void {
    this.push(Buffer.concat([line, Buffer.of(NEWLINE)]))
  }
}

const NEWLINE = 0x0a

/** In bytes. A longer line is split, because output without a newline would otherwise fill the memory. */
const MAX_LINE_LENGTH = 1024 * 1024
