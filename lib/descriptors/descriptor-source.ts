import { Server, Socket } from 'node:net'
import { invalidType, invalidValue } from '../errors.js'
import { integer } from '../validate.js'

/**
 * A descriptor to borrow: a number, or an object that has the descriptor open: a `Descriptor`, a `fs.promises.FileHandle`, any
 * other object with an `fd`, a `net.Socket` or a `net.Server`. TLS sockets are refused: their session cannot be passed on.
 */
export type DescriptorSource = number | { readonly fd: number } | Socket | Server

/** Returns the number of a source. Use it at once, because the owner may close it. Throws Node's errors, which name the argument. */
export function descriptorNumber(name: string, source: unknown): number {
  if (typeof source === 'number') return integer(name, source, 0, LARGEST_INT)
  if (typeof source !== 'object' || source === null) throw invalidType(name, EXPECTED, source)
  if (Reflect.get(source, 'encrypted') === true) {
    throw invalidValue(name, source, 'is encrypted: its descriptor alone does not carry its session')
  }
  const fd = source instanceof Socket || source instanceof Server ? handleNumber(source) : Reflect.get(source, 'fd')
  if (typeof fd !== 'number') throw invalidType(name, EXPECTED, source)
  if (!Number.isInteger(fd) || fd < 0) throw invalidValue(name, source, 'has no open descriptor')
  return fd
}

/** Returns the descriptor of a socket or server, -1 if it is closed. Node documents no access, but the handle has the number. */
function handleNumber(source: Socket | Server): unknown {
  const handle: unknown = Reflect.get(source, '_handle')
  return typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : -1
}

const EXPECTED = 'a descriptor: its number, a Descriptor, a FileHandle, a net.Socket or a net.Server'
const LARGEST_INT = 2 ** 31 - 1
