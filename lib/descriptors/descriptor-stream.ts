import { hasCode, illegalConstructor, SocketServerError, type SystemFailure, systemError } from '../errors.js'
import { adoptStream, kindOf, type NativeStream, streamPair } from '../native.js'
import { connectWhenThereIsRoom } from './connecting.js'
import { adoptable, type DescriptorOwner, relinquish } from './descriptor.js'
import type { DescriptorSource } from './descriptor-source.js'
import { Occupation } from './pending-ref.js'
import { type Received, readOutcome } from './received.js'
import { socketName } from './socket-name.js'
import {
  type DescriptorConnectOptions,
  parseMessage,
  parseReceiveOptions,
  parseSignal,
  type ReceiveOptions,
} from './stream-options.js'
import { Waiters } from './waiters.js'

/**
 * One end of an AF_UNIX stream, which carries bytes and descriptors between processes. It keeps the process alive while
 * something of it is waited for, and is closed when it is collected.
 */
export class DescriptorStream {
  readonly #native: NativeStream
  readonly #sends = new Map<number, { resolve: () => void; reject: (error: Error) => void }>()
  readonly #receives = new Waiters<number, Received | null>(() => this.#withdrawn())
  readonly #occupation = new Occupation(this)
  #lastSend: Promise<void> | undefined
  #state: 'open' | 'ended' | 'closing' | 'closed' = 'open'
  #ending: Promise<void> | undefined
  #closing: Promise<void> | undefined

  private constructor(native: NativeStream) {
    if (native === undefined) throw illegalConstructor()
    this.#native = native
    // Weak: what the native side holds would never be collected.
    const weak = new WeakRef(this)
    native.attach(() => {
      const target = weak.deref()
      if (target !== undefined) target.#wake()
    })
  }

  /** @internal */
  static of(native: NativeStream): DescriptorStream {
    return new DescriptorStream(native)
  }

  /** Makes a stream and gives both of its ends. Throws the system's error (EMFILE ...). */
  static pair(): [DescriptorStream, DescriptorStream] {
    const { left, right, error } = streamPair()
    if (error !== undefined) throw systemError(error, error.syscall)
    if (left === undefined || right === undefined) throw new TypeError('The binding returned neither ends nor an error')
    return [new DescriptorStream(left), new DescriptorStream(right)]
  }

  /**
   * Connects to a path or, on Linux, an abstract name (`'\0name'`). Rejects with the system's error (ENOENT, ECONNREFUSED,
   * EACCES ...). Where the backlog of who listens is full it waits for a place in it, on Linux.
   */
  static async connect(path: string, options: DescriptorConnectOptions = {}): Promise<DescriptorStream> {
    const name = socketName('path', path)
    const signal = parseSignal(options)
    return new DescriptorStream(await connectWhenThereIsRoom(name, signal))
  }

  /**
   * Takes over a descriptor: one that this process has inherited, by its number, or one that it has received. Throws EBADF,
   * or ERR_SOCKETSERVER_DESCRIPTOR_KIND if it is not an AF_UNIX stream socket; then it stays whose it was.
   */
  static from(source: DescriptorOwner): DescriptorStream {
    const stream = new DescriptorStream(adoptStream(adoptable(source, 'stream', 'an AF_UNIX stream socket')))
    relinquish(source)
    return stream
  }

  /** Its number, to look at, or to give to a child process in `stdio`; -1 once it is closed. */
  get fd(): number {
    return this.#native.fd
  }

  /**
   * Sends bytes, and up to 253 descriptors with the first of them. They are borrowed: what this has been called with may
   * be changed and closed at once, on macOS only when the receiver has them. Resolves when the kernel has taken all; several
   * calls keep their order. Rejects with EPIPE or ECONNRESET when the peer has gone; with ETOOMANYREFS when too many
   * descriptors are under way, and then nothing of it has been sent; with ERR_SOCKETSERVER_CLOSED once this is closed.
   */
  async send(data: string | NodeJS.ArrayBufferView, descriptors: readonly DescriptorSource[] = []): Promise<void> {
    const { bytes, numbers } = parseMessage(data, descriptors)
    if (this.#state !== 'open') throw this.#closedError('send()')
    const { ticket, error } = this.#native.send(bytes, numbers)
    if (error !== undefined) throw sendError(error, numbers)
    if (ticket === undefined) return
    this.#lastSend = new Promise((resolve, reject) => {
      this.#sends.set(ticket, { resolve, reject })
    })
    this.#occupation.set(true)
    return this.#lastSend
  }

  /**
   * Receives what there is, as soon as there is something: bytes, and the descriptors that were sent with them. Resolves to
   * null at the end of the stream. Several calls wait in order. Nothing is received before it is asked for. Rejects with
   * ERR_SOCKETSERVER_DESCRIPTORS_LOST if this process could not take a descriptor, as it is at its limit of open files: all
   * that came are closed, the bytes are the error's `data`, and the stream goes on; with ECONNRESET if the peer has gone
   * without reading what was sent to it; with an AbortError; with ERR_SOCKETSERVER_CLOSED.
   */
  async receive(options: ReceiveOptions = {}): Promise<Received | null> {
    const { size, signal } = parseReceiveOptions(options)
    if (this.#state === 'closing' || this.#state === 'closed') throw this.#closedError('receive()')
    const received = this.#receives.wait(size, signal)
    // Those before it wait already.
    if (this.#receives.length === 1) this.#pump()
    return received
  }

  /** Receives until the end of the stream, or until it is closed here. It stays open when the loop is left. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Received, void, undefined> {
    for (;;) {
      let received: Received | null
      try {
        received = await this.receive()
      } catch (error) {
        if (hasCode(error, 'ERR_SOCKETSERVER_CLOSED')) return
        throw error
      }
      if (received === null) return
      yield received
    }
  }

  /** Ends the sending when all has been sent: then the peer sees the end. Receiving goes on. Every call returns the same promise. */
  end(): Promise<void> {
    this.#ending ??= this.#end()
    return this.#ending
  }

  /** Closes it when all has been sent, for which the peer has to read or to go. Every call returns the same promise. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** Closes it now. What has not been sent is not, and its calls reject with ERR_SOCKETSERVER_CLOSED. */
  destroy(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#native.close()
    this.#receives.reject(this.#closedError('receive()'))
    for (const send of this.#sends.values()) send.reject(this.#closedError('send()'))
    this.#sends.clear()
    this.#occupation.set(false)
  }

  /** Closes the stream at the end of an `await using` block. The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Destroys the stream at the end of a `using` block. The same as `destroy()`. */
  [Symbol.dispose](): void {
    this.destroy()
  }

  /** Has the process stay alive while something is waited for, as it does from the start. */
  ref(): this {
    this.#occupation.ref()
    return this
  }

  /** Lets the process exit although something is waited for. */
  unref(): this {
    this.#occupation.unref()
    return this
  }

  async #end(): Promise<void> {
    if (this.#state !== 'open') return
    this.#state = 'ended'
    await this.#flushed()
    const error = this.#native.end()
    if (error !== null) throw systemError(error, error.syscall)
  }

  async #close(): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closing'
    this.#receives.reject(this.#closedError('receive()'))
    this.#withdrawn()
    await this.#flushed()
    this.destroy()
  }

  /** Waits until nothing is to be sent any more, whatever has become of it. */
  async #flushed(): Promise<void> {
    try {
      await this.#lastSend
    } catch {
      // That call has been told.
    }
  }

  #wake(): void {
    for (const { ticket, error } of this.#native.settled()) {
      const send = this.#sends.get(ticket)
      this.#sends.delete(ticket)
      if (error === undefined) send?.resolve()
      else send?.reject(sendError(error, []))
    }
    this.#pump()
  }

  /** Gives what there is to those that wait, in order. */
  #pump(): void {
    for (let waiter = this.#receives.first; waiter !== undefined; waiter = this.#receives.first) {
      const outcome = this.#native.receive(waiter.request)
      if (outcome.kind === 'nothing') break
      try {
        waiter.resolve(readOutcome(outcome))
      } catch (error) {
        waiter.reject(error instanceof Error ? error : new Error(String(error)))
      }
    }
    this.#occupy()
  }

  #withdrawn(): void {
    if (this.#receives.length === 0) this.#native.rest()
    this.#occupy()
  }

  #occupy(): void {
    this.#occupation.set(this.#receives.length + this.#sends.size > 0)
  }

  #closedError(what: string): SocketServerError {
    return new SocketServerError('ERR_SOCKETSERVER_CLOSED', `The stream is ${this.#state}: ${what} comes too late`)
  }
}

/** Of a descriptor that is not open the system does not say which it is. */
function sendError(error: SystemFailure & { syscall: string }, numbers: readonly number[]): SocketServerError {
  const closed = error.code === 'EBADF' ? numbers.find((fd) => kindOf(fd).error !== undefined) : undefined
  return systemError(error, error.syscall, closed === undefined ? {} : { note: `(descriptor ${closed})` })
}
