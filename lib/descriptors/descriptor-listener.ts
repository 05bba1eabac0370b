import { hasCode, illegalConstructor, SocketServerError, systemError } from '../errors.js'
import { adoptUnixListener, bindUnixListener, type NativeUnixListener } from '../native.js'
import { adoptable, type DescriptorOwner, relinquish } from './descriptor.js'
import { DescriptorStream } from './descriptor-stream.js'
import { Occupation } from './pending-ref.js'
import { socketName } from './socket-name.js'
import {
  type DescriptorAcceptOptions,
  type DescriptorListenOptions,
  parseListenOptions,
  parseSignal,
} from './stream-options.js'
import { Waiters } from './waiters.js'

/**
 * A Unix socket that listens for {@link DescriptorStream}s. It keeps the process alive while somebody waits for one, and
 * is closed when it is collected.
 */
export class DescriptorListener {
  readonly #native: NativeUnixListener
  readonly #accepts = new Waiters<undefined, DescriptorStream>(() => this.#withdrawn())
  readonly #occupation = new Occupation(this)
  #isClosed = false

  private constructor(native: NativeUnixListener) {
    if (native === undefined) throw illegalConstructor()
    this.#native = native
    // Weak: what the native side holds would never be collected.
    const weak = new WeakRef(this)
    native.attach(() => {
      const target = weak.deref()
      if (target !== undefined) target.#pump()
    })
  }

  /**
   * Listens on a path or, on Linux, an abstract name (`'\0name'`). The socket file has its `mode` from the start; one that is
   * there already is replaced if nobody answers on it; at the end it is removed. Rejects with the system's error
   * (EADDRINUSE, EACCES ...).
   */
  static async listen(path: string, options: DescriptorListenOptions = {}): Promise<DescriptorListener> {
    const { bytes, shown } = socketName('path', path)
    const { mode, backlog } = parseListenOptions(options)
    const { listener, error } = bindUnixListener(bytes, mode, backlog)
    if (error !== undefined) throw systemError(error, error.syscall, { address: shown })
    if (listener === undefined) throw new TypeError('The binding returned neither a listener nor an error')
    return new DescriptorListener(listener)
  }

  /**
   * Takes over a descriptor that listens: one that this process has inherited, by its number, or one that it has received.
   * Throws EBADF, or ERR_SOCKETSERVER_DESCRIPTOR_KIND if it is none of AF_UNIX; then it stays whose it was.
   */
  static from(source: DescriptorOwner): DescriptorListener {
    const fd = adoptable(source, 'listener', 'an AF_UNIX stream socket that listens')
    const listener = new DescriptorListener(adoptUnixListener(fd))
    relinquish(source)
    return listener
  }

  /** Its number, to look at or to send; -1 once it is closed. */
  get fd(): number {
    return this.#native.fd
  }

  /**
   * Accepts one stream; several calls wait in order. Rejects with the system's error (EMFILE: it stays in the backlog), with
   * an AbortError, or with ERR_SOCKETSERVER_CLOSED.
   */
  async accept(options: DescriptorAcceptOptions = {}): Promise<DescriptorStream> {
    const signal = parseSignal(options)
    if (this.#isClosed) throw closedError()
    const accepted = this.#accepts.wait(undefined, signal)
    if (this.#accepts.length === 1) this.#pump()
    return accepted
  }

  /** One stream after the other, until this is closed. It stays open when the loop is left. */
  async *[Symbol.asyncIterator](): AsyncGenerator<DescriptorStream, void, undefined> {
    for (;;) {
      let stream: DescriptorStream
      try {
        stream = await this.accept()
      } catch (error) {
        if (hasCode(error, 'ERR_SOCKETSERVER_CLOSED')) return
        throw error
      }
      yield stream
    }
  }

  /** Stops listening and removes the socket file, if this made it. Streams that it has accepted go on. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#native.close()
    this.#accepts.reject(closedError())
    this.#occupation.set(false)
  }

  /** Closes the listener at the end of a `using` block. The same as `close()`. */
  [Symbol.dispose](): void {
    this.close()
  }

  /** Has the process stay alive while somebody waits for a stream, as it does from the start. */
  ref(): this {
    this.#occupation.ref()
    return this
  }

  /** Lets the process exit although somebody waits for a stream. */
  unref(): this {
    this.#occupation.unref()
    return this
  }

  #pump(): void {
    for (let waiter = this.#accepts.first; waiter !== undefined; waiter = this.#accepts.first) {
      const outcome = this.#native.accept()
      if (outcome === null) break
      const { stream, error } = outcome
      if (stream !== undefined) waiter.resolve(DescriptorStream.of(stream))
      else if (error !== undefined) waiter.reject(systemError(error, error.syscall))
    }
    this.#occupation.set(this.#accepts.length > 0)
  }

  #withdrawn(): void {
    if (this.#accepts.length === 0) this.#native.rest()
    this.#occupation.set(this.#accepts.length > 0)
  }
}

function closedError(): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CLOSED', 'The listener is closed: accept() comes too late')
}
