import {
  callOnClosed,
  hasCode,
  illegalConstructor,
  type SocketServerError,
  type SystemFailure,
  systemError,
} from '../errors.js'
import { KeepAlive } from '../keep-alive.js'
import { adoptStream, kindOf, type NativeStream, streamPair } from '../native.js'
import { Waiters } from '../waiters.js'
import { connectWithRetry } from './connecting.js'
import { adoptable, type DescriptorOwner, relinquish } from './descriptor.js'
import type { DescriptorSource } from './descriptor-source.js'
import { type Received, readOutcome } from './received.js'
import { socketName } from './socket-name.js'
import {
  type DescriptorConnectOptions,
  parseMessage,
  parseReceiveOptions,
  parseSignal,
  type ReceiveOptions,
} from './stream-options.js'

/**
 * One end of an AF_UNIX stream, which carries bytes and descriptors between processes. It keeps the process alive while a
 * `send()` or `receive()` is pending, and is closed when it is garbage collected.
 */
export class DescriptorStream {
  readonly #native: NativeStream
  readonly #sends = new Map<number, { resolve: () => void; reject: (error: Error) => void }>()
  readonly #receives = new Waiters<number, Received | null>(() => this.#onAbort())
  readonly #keepAlive = new KeepAlive(this)
  #lastSend: Promise<void> | undefined
  #state: 'open' | 'ended' | 'closing' | 'closed' = 'open'
  #ending: Promise<void> | undefined
  #closing: Promise<void> | undefined

  private constructor(native: NativeStream) {
    if (native === undefined) throw illegalConstructor()
    this.#native = native
    // The native side holds the callback forever. A strong reference would keep this object from being collected.
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

  /** Creates a stream and returns both ends. Throws the system's error (EMFILE ...). */
  static pair(): [DescriptorStream, DescriptorStream] {
    const { left, right, error } = streamPair()
    if (error !== undefined) throw systemError(error, error.syscall)
    if (left === undefined || right === undefined) throw new TypeError('The binding returned neither ends nor an error')
    return [new DescriptorStream(left), new DescriptorStream(right)]
  }

  /**
   * Connects to a path or, on Linux, an abstract name (`'\0name'`). Rejects with the system's error (ENOENT, ECONNREFUSED,
   * EACCES ...). On Linux the call waits while the listener's backlog is full.
   */
  static async connect(path: string, options: DescriptorConnectOptions = {}): Promise<DescriptorStream> {
    const name = socketName('path', path)
    const signal = parseSignal(options)
    return new DescriptorStream(await connectWithRetry(name, signal))
  }

  /**
   * Takes ownership of a descriptor: an inherited one by its number, or a received one. Throws EBADF, or
   * ERR_SOCKETSERVER_DESCRIPTOR_KIND if it is not an AF_UNIX stream socket; then the source keeps the descriptor.
   */
  static from(source: DescriptorOwner): DescriptorStream {
    const stream = new DescriptorStream(adoptStream(adoptable(source, 'stream', 'an AF_UNIX stream socket')))
    relinquish(source)
    return stream
  }

  /** The descriptor's number, for example for the `stdio` of a child process; -1 once the stream is closed. */
  get fd(): number {
    return this.#native.fd
  }

  /**
   * Sends bytes, and up to 253 descriptors with the first byte. The call borrows both: the caller may change the bytes and close
   * the descriptors as soon as the call has returned; on macOS close descriptors only when the receiver has them. Resolves when
   * the kernel has taken everything. Calls keep their order.
   *
   * Rejects with EPIPE or ECONNRESET if the peer has gone, with ETOOMANYREFS if too many descriptors are in flight (then nothing
   * was sent), and with ERR_SOCKETSERVER_CLOSED once this end is closed.
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
    this.#keepAlive.hold()
    return this.#lastSend
  }

  /**
   * Receives the available bytes, at least one, and the descriptors that were sent with them. Resolves to null at the end of the
   * stream. Pending calls are served in order. The stream reads nothing before this call.
   *
   * Rejects with ERR_SOCKETSERVER_DESCRIPTORS_LOST if this process is at its limit of open files: the descriptors that did
   * arrive are closed, the bytes are the error's `data`, and the stream stays usable. Rejects with ECONNRESET if the peer has gone
   * without reading everything that was sent to it, with an AbortError, and with ERR_SOCKETSERVER_CLOSED.
   */
  async receive(options: ReceiveOptions = {}): Promise<Received | null> {
    const { size, signal } = parseReceiveOptions(options)
    if (this.#state === 'closing' || this.#state === 'closed') throw this.#closedError('receive()')
    const received = this.#receives.wait(size, signal)
    // With earlier pending calls there is nothing to receive yet.
    if (this.#receives.length === 1) this.#pump()
    return received
  }

  /** Receives until the end of the stream, or until it is closed here. Leaving the loop does not close the stream. */
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

  /**
   * Ends the writing side once everything has been sent; then the peer reads the end. Receiving remains possible. Every call
   * returns the same promise.
   */
  end(): Promise<void> {
    this.#ending ??= this.#end()
    return this.#ending
  }

  /** Closes the stream once everything has been sent, or the peer has gone. Every call returns the same promise. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** Closes the stream now. Pending calls reject with ERR_SOCKETSERVER_CLOSED, and their data is not sent. */
  destroy(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#native.close()
    this.#receives.reject(() => this.#closedError('receive()'))
    for (const send of this.#sends.values()) send.reject(this.#closedError('send()'))
    this.#sends.clear()
    this.#keepAlive.release()
  }

  /** Closes the stream at the end of an `await using` block. The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Destroys the stream at the end of a `using` block. The same as `destroy()`. */
  [Symbol.dispose](): void {
    this.destroy()
  }

  /** Makes a pending call keep the process alive, which is the default. */
  ref(): this {
    this.#keepAlive.ref()
    return this
  }

  /** Lets the process exit while a call is pending. */
  unref(): this {
    this.#keepAlive.unref()
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
    this.#receives.reject(() => this.#closedError('receive()'))
    this.#onAbort()
    await this.#flushed()
    this.destroy()
  }

  /** Waits until the last `send()` has been fulfilled or rejected. */
  async #flushed(): Promise<void> {
    try {
      await this.#lastSend
    } catch {
      // The promise of that call has reported the error.
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

  /** Serves pending `receive()` calls in order, as far as data has arrived. */
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
    this.#updateKeepAlive()
  }

  #onAbort(): void {
    if (this.#receives.length === 0) this.#native.rest()
    this.#updateKeepAlive()
  }

  #updateKeepAlive(): void {
    this.#keepAlive.set(this.#receives.length + this.#sends.size > 0)
  }

  #closedError(call: string): SocketServerError {
    return callOnClosed(call, `the stream is ${this.#state}`)
  }
}

/** Returns the error of a `send()`. For EBADF it names the descriptor that is not open, which the system does not report. */
function sendError(error: SystemFailure & { syscall: string }, numbers: readonly number[]): SocketServerError {
  const closed = error.code === 'EBADF' ? numbers.find((fd) => kindOf(fd).error !== undefined) : undefined
  return systemError(error, error.syscall, closed === undefined ? {} : { note: `(descriptor ${closed})` })
}
