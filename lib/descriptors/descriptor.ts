import { Socket } from 'node:net'
import { callOnClosed, illegalConstructor, SocketServerError, systemError } from '../errors.js'
import { adoptDescriptor, copyDescriptor, kindOf, type NativeDescriptor } from '../native.js'
import { anyObject, boolean, integer, optionsObject } from '../validate.js'
import { type DescriptorSource, descriptorNumber } from './descriptor-source.js'

/**
 * The kind of a descriptor.
 *
 * - `file`: a regular file, or memory from memfd_create(2).
 * - `device`: for example a terminal.
 * - `stream`: a stream socket, TCP or Unix.
 * - `listener`: a stream socket that listens.
 * - `datagram`: a datagram socket, UDP or Unix.
 */
export type DescriptorKind = 'file' | 'directory' | 'pipe' | 'device' | 'stream' | 'listener' | 'datagram' | 'other'

/** Options of `descriptor.socket()`. */
export interface DescriptorSocketOptions {
  /** Whether the socket stays writable after the peer has ended its side, as in `net.Socket`. Default false. */
  allowHalfOpen?: boolean | undefined
}

/**
 * Owns an open file descriptor. The descriptor is closed when this object is closed, disposed or garbage collected, unless
 * `release()`, `socket()` or a function that takes ownership of a `Descriptor` has released it.
 */
export class Descriptor {
  readonly #native: NativeDescriptor

  private constructor(native: NativeDescriptor) {
    if (native === undefined) throw illegalConstructor()
    this.#native = native
  }

  /** @internal */
  static of(native: NativeDescriptor): Descriptor {
    return new Descriptor(native)
  }

  /** Takes ownership of the descriptor with this number. Throws EBADF if the descriptor is not open. */
  static from(options: { fd: number }): Descriptor {
    const fd = integer('options.fd', Reflect.get(optionsObject('options', options, ['fd']), 'fd'), 0, 2 ** 31 - 1)
    checkedKind(fd)
    return new Descriptor(adoptDescriptor(fd))
  }

  /** Copies a descriptor by dup(2). The source keeps its own descriptor. Throws EBADF and EMFILE. */
  static copyOf(source: DescriptorSource): Descriptor {
    const fd = descriptorNumber('source', source)
    const { descriptor, error } = copyDescriptor(fd)
    if (error !== undefined) throw systemError(error, error.syscall, { note: `(descriptor ${fd})` })
    if (descriptor === undefined) throw new TypeError('The binding returned neither a descriptor nor an error')
    return new Descriptor(descriptor)
  }

  /** The descriptor's number, valid while this object is open; -1 once it is closed or released. */
  get fd(): number {
    return this.#native.fd
  }

  /** The kind that the system reports. Check it before you use a descriptor from a program that you do not trust. */
  get kind(): DescriptorKind {
    return checkedKind(this.#open('kind')).kind
  }

  /** Releases the descriptor: returns its number, which the caller must close. Throws ERR_SOCKETSERVER_CLOSED. */
  release(): number {
    this.#open('release()')
    return this.#native.release()
  }

  /**
   * Returns a `net.Socket` that owns the descriptor from now on. The socket starts to read at once, like every `net.Socket`
   * that is created from a descriptor. Throws ERR_SOCKETSERVER_DESCRIPTOR_KIND, and keeps the descriptor, if the descriptor is
   * not a stream socket.
   */
  socket(options: DescriptorSocketOptions = {}): Socket {
    optionsObject('options', options, ['allowHalfOpen'])
    const allowHalfOpen = boolean('options.allowHalfOpen', options.allowHalfOpen, false)
    const fd = this.#open('socket()')
    const { kind } = checkedKind(fd)
    if (kind !== 'stream') throw wrongKind(fd, kind, 'a stream socket')
    const socket = new Socket({ fd, allowHalfOpen })
    this.#native.release()
    return socket
  }

  /** Closes the descriptor. Does nothing if it is closed or released already. */
  close(): void {
    this.#native.close()
  }

  /** Closes the descriptor at the end of a `using` block. The same as `close()`. */
  [Symbol.dispose](): void {
    this.close()
  }

  #open(call: string): number {
    const fd = this.fd
    if (fd >= 0) return fd
    throw callOnClosed(call, 'the descriptor is closed or released')
  }
}

/** The owner from which a function takes a descriptor: the number, or a `Descriptor`, which is then released. */
export type DescriptorOwner = Descriptor | { fd: number }

/** Returns the number of an AF_UNIX socket of this kind, for `from(source)`. Throws if the descriptor is not such a socket. */
export function adoptable(source: DescriptorOwner, wanted: 'stream' | 'listener', expected: string): number {
  const fd = descriptorNumber('source', anyObject('source', source))
  const { kind, isUnix } = checkedKind(fd)
  if (kind !== wanted || !isUnix) throw wrongKind(fd, kind, expected)
  return fd
}

/** Releases a `Descriptor` that has a new owner now. */
export function relinquish(source: DescriptorOwner): void {
  if (source instanceof Descriptor) source.release()
}

function checkedKind(fd: number): { kind: DescriptorKind; isUnix: boolean } {
  const { kind, isUnix, error } = kindOf(fd)
  if (error !== undefined) throw systemError(error, error.syscall, { note: `(descriptor ${fd})` })
  return { kind: kind ?? 'other', isUnix }
}

function wrongKind(fd: number, kind: DescriptorKind, expected: string): SocketServerError {
  const found = kind === 'other' ? 'something else' : `of kind '${kind}'`
  return new SocketServerError('ERR_SOCKETSERVER_DESCRIPTOR_KIND', `Descriptor ${fd} is not ${expected} but ${found}`)
}
