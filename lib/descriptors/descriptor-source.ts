import { Server, Socket } from 'node:net'
import { invalidType, invalidValue } from '../errors.js'
import { integer } from '../validate.js'

/**
 * Where a descriptor is borrowed from: its number, or what has it open: a `Descriptor`, a `fs.promises.FileHandle`, or
 * whatever else tells its `fd`; a `net.Socket` or a `net.Server`. A TLS socket is none: its session would not come along.
 */
export type DescriptorSource = number | { readonly fd: number } | Socket | Server

/** The number, to be used at once: whoever owns it may close it. Throws as Node does, naming the argument. */
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

/** Node documents no way to the descriptor of a socket. Its handle has the number while it is open, or -1. */
function handleNumber(source: Socket | Server): unknown {
  const handle: unknown = Reflect.get(source, '_handle')
  return typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : -1
}

const EXPECTED = 'a descriptor: its number, a Descriptor, a FileHandle, a net.Socket or a net.Server'
const LARGEST_INT = 2 ** 31 - 1
