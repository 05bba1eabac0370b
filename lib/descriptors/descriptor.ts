import { Socket } from 'node:net'
import { illegalConstructor, SocketServerError, systemError } from '../errors.js'
import { adoptDescriptor, copyDescriptor, kindOf, type NativeDescriptor } from '../native.js'
import { anyObject, boolean, integer, optionsObject } from '../validate.js'
import { type DescriptorSource, descriptorNumber } from './descriptor-source.js'

/**
 * What a descriptor is of. `file`: a regular file, or memory from memfd_create(2); `device`: a terminal, for one; `stream`:
 * a stream socket, TCP or Unix; `listener`: one that listens; `datagram`: UDP, or Unix datagrams.
 */
export type DescriptorKind = 'file' | 'directory' | 'pipe' | 'device' | 'stream' | 'listener' | 'datagram' | 'other'

/** How a descriptor becomes a `net.Socket`. */
export interface DescriptorSocketOptions {
  /** As `net.Socket`'s: whether its writing side outlives its reading side. Default false. */
  allowHalfOpen?: boolean | undefined
}

/**
 * An open file descriptor, owned: it is closed when this is closed, disposed or collected, unless it has been handed on
 * before, by `release()`, `socket()` or to whatever takes a `Descriptor` over.
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

  /** Takes over the descriptor of this number. Throws EBADF if it is not open. */
  static from(options: { fd: number }): Descriptor {
    const fd = integer('options.fd', Reflect.get(optionsObject('options', options, ['fd']), 'fd'), 0, 2 ** 31 - 1)
    checkedKind(fd)
    return new Descriptor(adoptDescriptor(fd))
  }

  /** Makes a copy, by dup(2), of what somebody else has open and goes on owning. Throws EBADF and EMFILE. */
  static copyOf(source: DescriptorSource): Descriptor {
    const fd = descriptorNumber('source', source)
    const { descriptor, error } = copyDescriptor(fd)
    if (error !== undefined) throw systemError(error, error.syscall, { note: `(descriptor ${fd})` })
    if (descriptor === undefined) throw new TypeError('The binding returned neither a descriptor nor an error')
    return new Descriptor(descriptor)
  }

  /** Its number, to look at or to borrow while this is open; -1 once it is closed or handed on. */
  get fd(): number {
    return this.#native.fd
  }

  /** What it is of, as the system says. Look before you use one that you have from somebody you do not trust. */
  get kind(): DescriptorKind {
    return checkedKind(this.#open('kind')).kind
  }

  /** Hands it on: the number, which is from then on the caller's to close. */
  release(): number {
    this.#open('release()')
    return this.#native.release()
  }

  /**
   * Makes a `net.Socket` of it, which owns it from then on. Throws ERR_SOCKETSERVER_DESCRIPTOR_KIND, and goes on owning
   * it, if it is no stream socket. The socket reads at once, as every `net.Socket` that is made of a descriptor does.
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

  /** Closes it, once; afterwards this does nothing. */
  close(): void {
    this.#native.close()
  }

  /** Closes the descriptor at the end of a `using` block. The same as `close()`. */
  [Symbol.dispose](): void {
    this.close()
  }

  #open(what: string): number {
    const fd = this.fd
    if (fd >= 0) return fd
    throw new SocketServerError(
      'ERR_SOCKETSERVER_CLOSED',
      `The descriptor is closed or handed on: ${what} comes too late`,
    )
  }
}

/** What to take a descriptor over from: its number, or a `Descriptor`, which is then released. */
export type DescriptorOwner = Descriptor | { fd: number }

/** The number that `from(source)` is to take over, of a socket of AF_UNIX of this kind. Throws if it is none. */
export function adoptable(source: DescriptorOwner, wanted: 'stream' | 'listener', expected: string): number {
  const fd = descriptorNumber('source', anyObject('source', source))
  const { kind, isUnix } = checkedKind(fd)
  if (kind !== wanted || !isUnix) throw wrongKind(fd, kind, expected)
  return fd
}

/** Its new owner has taken it over. */
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
