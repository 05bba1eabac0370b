import { inspect } from 'node:util'
import { invalidValue } from '../errors.js'
import { path, string } from '../validate.js'

/** The name of a Unix socket. */
export interface SocketName {
  /** The bytes for the kernel. */
  bytes: Buffer
  /** The text for errors, in which an abstract name begins with `@`, as in ss(8). */
  shown: string
}

/** Validates a path or, on Linux, an abstract name, which begins with NUL and is not a file (unix(7)). */
export function socketName(name: string, value: unknown): SocketName {
  const text = string(name, value)
  if (!text.startsWith('\0')) return { bytes: Buffer.from(path(name, text)), shown: text }
  if (process.platform !== 'linux') throw invalidValue(name, text, 'is abstract, and only Linux has abstract names')
  if (text.length === 1) throw invalidValue(name, text, 'must not be empty')
  return { bytes: Buffer.from(text), shown: `@${inspect(text.slice(1)).slice(1, -1)}` }
}
