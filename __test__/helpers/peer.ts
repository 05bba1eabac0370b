import { connect, type Socket } from 'node:net'
import type { ExecutionContext } from 'ava'
import { until } from './until.js'
import { within } from './within.js'

/** A client of a shared path in the process of the test that sends arbitrary bytes. */
export class Peer {
  readonly socket: Socket
  readonly #closed: Promise<void>
  #received = Buffer.alloc(0)

  constructor(path: string) {
    this.socket = connect({ path })
    this.socket.on('data', (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes])
    })
    // The server may reset the connection.
    this.socket.on('error', () => {})
    this.#closed = new Promise((resolve) => this.socket.once('close', () => resolve()))
  }

  send(...frames: Buffer[]): this {
    this.socket.write(Buffer.concat(frames))
    return this
  }

  /** The frames received so far: the kind and the records of each. */
  get frames(): [kind: number, records: Buffer][] {
    const frames: [number, Buffer][] = []
    for (let at = 0; at + 8 <= this.#received.length; ) {
      const end = at + 8 + this.#received.readUInt32LE(at)
      if (end > this.#received.length) break
      frames.push([this.#received.readUInt8(at + 4), this.#received.subarray(at + 8, end)])
      at = end
    }
    return frames
  }

  /** Waits for a frame of this kind and returns its records. */
  async receives(kind: number): Promise<Buffer> {
    let found: Buffer | undefined
    await until(() => {
      found = this.frames.find(([sent]) => sent === kind)?.[1]
      return found !== undefined
    })
    return found ?? Buffer.alloc(0)
  }

  /** Waits for the end of the channel and returns the reason and the detail of the CLOSE before it. */
  async closed(): Promise<{ reason: number; detail: number } | undefined> {
    await within(this.#closed, 'the end of a channel')
    const close = this.frames.find(([kind]) => kind === CLOSE)?.[1]
    return close && { reason: close.readUInt32LE(0), detail: close.readUInt32LE(4) }
  }
}

/** Connects a peer, which is disconnected at the end of the test. */
export function peer(t: ExecutionContext, path: string): Peer {
  const one = new Peer(path)
  t.teardown(() => one.socket.destroy())
  return one
}

export const WELCOME = 0x81
export const CONNECTION = 0x82
export const RETIRE = 0x86
export const CLOSE = 0x87
