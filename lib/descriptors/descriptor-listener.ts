import { callOnClosed, hasCode, illegalConstructor, type SocketServerError, systemError } from '../errors.js'
import { KeepAlive } from '../keep-alive.js'
import { adoptUnixListener, bindUnixListener, type NativeUnixListener } from '../native.js'
import { Waiters } from '../waiters.js'
import { adoptable, type DescriptorOwner, relinquish } from './descriptor.js'
import { DescriptorStream } from './descriptor-stream.js'
import { socketName } from './socket-name.js'
import {
  type DescriptorAcceptOptions,
  type DescriptorListenOptions,
  parseListenOptions,
  parseSignal,
} from './stream-options.js'

/**
 * A Unix socket that listens for {@link DescriptorStream}s. It keeps the process alive while an `accept()` is pending, and
 * is closed when it is garbage collected.
 */
export class DescriptorListener {
  readonly #native: NativeUnixListener
  readonly #accepts = new Waiters<undefined, DescriptorStream>(() => this.#onAbort())
  readonly #keepAlive = new KeepAlive(this)
  #isClosed = false

  private constructor(native: NativeUnixListener) {
    if (native === undefined) throw illegalConstructor()
    this.#native = native
    // The native side holds the callback forever. A strong reference would keep this object from being collected.
    const weak = new WeakRef(this)
    native.attach(() => {
      const target = weak.deref()
      if (target !== undefined) target.#pump()
    })
  }

  /**
   * Listens on a path or, on Linux, an abstract name (`'\0name'`). The socket file has its `mode` from the moment it appears. An
   * existing socket file is replaced if no program listens on it. `close()` removes the file. Rejects with the system's error
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
   * Takes ownership of a listening descriptor: an inherited one by its number, or a received one. Throws EBADF, or
   * ERR_SOCKETSERVER_DESCRIPTOR_KIND if it is not an AF_UNIX socket that listens; then the source keeps the descriptor.
   */
  static from(source: DescriptorOwner): DescriptorListener {
    const fd = adoptable(source, 'listener', 'an AF_UNIX stream socket that listens')
    const listener = new DescriptorListener(adoptUnixListener(fd))
    relinquish(source)
    return listener
  }

  /** The descriptor's number, for example to send it; -1 once the listener is closed. */
  get fd(): number {
    return this.#native.fd
  }

  /**
   * Accepts one stream. Pending calls are served in order. Rejects with the system's error (on EMFILE the stream stays in the
   * backlog), with an AbortError, or with ERR_SOCKETSERVER_CLOSED.
   */
  async accept(options: DescriptorAcceptOptions = {}): Promise<DescriptorStream> {
    const signal = parseSignal(options)
    if (this.#isClosed) throw closedError()
    const accepted = this.#accepts.wait(undefined, signal)
    if (this.#accepts.length === 1) this.#pump()
    return accepted
  }

  /** Accepts streams until the listener is closed. Leaving the loop does not close the listener. */
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

  /** Stops listening, and removes the socket file if `listen()` created it. Accepted streams stay open. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#native.close()
    this.#accepts.reject(closedError)
    this.#keepAlive.release()
  }

  /** Closes the listener at the end of a `using` block. The same as `close()`. */
  [Symbol.dispose](): void {
    this.close()
  }

  /** Makes a pending `accept()` keep the process alive, which is the default. */
  ref(): this {
    this.#keepAlive.ref()
    return this
  }

  /** Lets the process exit while an `accept()` is pending. */
  unref(): this {
    this.#keepAlive.unref()
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
    this.#keepAlive.set(this.#accepts.length > 0)
  }

  #onAbort(): void {
    if (this.#accepts.length === 0) this.#native.rest()
    this.#keepAlive.set(this.#accepts.length > 0)
  }
}

function closedError(): SocketServerError {
  return callOnClosed('accept()', 'the listener is closed')
}
