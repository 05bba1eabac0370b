import { connect, type NetConnectOpts, type Socket } from 'node:net'
import type { ExecutionContext } from 'ava'
import { until } from './until.js'
import { within } from './within.js'

/** The address of a client's server: a port on 127.0.0.1, the path of a Unix socket, or options of `net.connect`. */
export type Target = number | string | NetConnectOpts

/** A client in the process of the test. Data written before it is connected is buffered, as with any socket. */
export class Caller {
  readonly socket: Socket
  /** All data received so far. */
  received = ''
  #error: Error | undefined
  readonly #over: Promise<void>

  constructor(target: Target) {
    this.socket = connect(connectOptions(target))
    this.socket.setEncoding('utf8')
    this.socket.on('data', (text: string) => {
      this.received += text
    })
    this.socket.on('error', (error) => {
      this.#error = error
    })
    this.#over = new Promise((resolve) => {
      this.socket.once('close', () => resolve())
    })
  }

  send(text: string): this {
    this.socket.write(text)
    return this
  }

  /** Waits until the kernel has connected the socket; the connection may still be in a backlog. */
  async connected(): Promise<void> {
    await until(() => {
      if (this.#error !== undefined) throw this.#error
      return !this.socket.connecting
    })
  }

  /** Waits until this text has been received. */
  async receives(text: string): Promise<void> {
    await until(() => {
      if (this.#error !== undefined) throw this.#error
      return this.received.includes(text)
    })
  }

  /** Waits for the end of the connection and returns all received data; rejects if the connection was reset. */
  async answer(): Promise<string> {
    await within(this.#over, 'the end of a connection')
    if (this.#error !== undefined) throw this.#error
    return this.received
  }

  disconnect(): void {
    this.socket.destroy()
  }
}

/** Connects a client, which is disconnected at the end of the test. */
export function call(t: ExecutionContext, target: Target): Caller {
  const caller = new Caller(target)
  t.teardown(() => caller.disconnect())
  return caller
}

/** Connects, sends `text` and returns the answer when the other side has ended the connection. */
export async function ask(target: Target, text = '\n'): Promise<string> {
  const caller = new Caller(target)
  try {
    return await caller.send(text).answer()
  } finally {
    caller.disconnect()
  }
}

/** Returns whether a connection is refused. */
export async function refuses(target: Target): Promise<boolean> {
  const socket = connect(connectOptions(target))
  return await new Promise((resolve) => {
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', () => resolve(true))
  })
}

function connectOptions(target: Target): NetConnectOpts {
  if (typeof target === 'number') return { port: target, host: '127.0.0.1' }
  return typeof target === 'string' ? { path: target } : target
}
