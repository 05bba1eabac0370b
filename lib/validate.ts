// Checks of single values. Each returns the value, or its default when it is undefined, or throws as Node does.

import { invalidType, invalidValue, outOfRange } from './errors.js'
import { checkKnownOptions } from './known-options.js'

/** An integer within bounds, both included. */
export function integer(name: string, value: unknown, min: number, max: number): number {
  if (typeof value !== 'number') throw invalidType(name, 'of type number', value)
  if (!Number.isInteger(value)) throw outOfRange(name, 'an integer', value)
  if (value < min || value > max) throw outOfRange(name, `>= ${min} && <= ${max}`, value)
  return value
}

/** A port, 0 included; a string of digits counts, as in Node, since ports come from the environment. */
export function port(name: string, value: unknown): number {
  if (isPortNumber(value)) return integer(name, Number(value), 0, 65535)
  if (typeof value === 'string') throw invalidValue(name, value, 'must be a port number')
  return integer(name, value, 0, 65535)
}

/** Whether a string is read as a port, not as a path, where both are possible. */
export function isPortNumber(value: unknown): value is string {
  return typeof value === 'string' && /^\s*\d+\s*$/.test(value)
}

/** Milliseconds that fit a timer; one beyond would make Node's timer fire at once. */
export function milliseconds(name: string, value: unknown, fallback: number): number {
  return value === undefined ? fallback : integer(name, value, 0, 2 ** 31 - 1)
}

export function boolean(name: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback
  if (typeof value !== 'boolean') throw invalidType(name, 'of type boolean', value)
  return value
}

export function string(name: string, value: unknown): string {
  if (typeof value !== 'string') throw invalidType(name, 'of type string', value)
  return value
}

/** A path the kernel can take: not empty, and without the NUL that would cut it short. */
export function path(name: string, value: unknown): string {
  const text = string(name, value)
  if (text === '') throw invalidValue(name, value, 'must not be empty')
  if (text.includes('\0')) throw invalidValue(name, value, 'must be a string without null bytes')
  return text
}

/** Where a Unix socket is shared: a path, or on Linux an abstract name, which begins with a null byte. */
export function socketName(name: string, value: unknown): string {
  if (typeof value !== 'string' || !value.startsWith('\0')) return path(name, value)
  if (process.platform !== 'linux') {
    throw invalidValue(name, value, 'must not begin with a null byte: abstract names are there on Linux only')
  }
  if (value.length === 1) throw invalidValue(name, value, 'must name something behind its null byte')
  return value
}

/** Numbers of users or groups. */
export function ids(name: string, value: unknown): number[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw invalidType(name, 'an instance of Array', value)
  // The last one stands for "none" in chown(2) and its like.
  return value.map((item: unknown, index) => integer(`${name}[${index}]`, item, 0, 2 ** 32 - 2))
}

export function strings(name: string, value: unknown): string[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw invalidType(name, 'an instance of Array', value)
  return value.map((item: unknown, index) => string(`${name}[${index}]`, item))
}

export function oneOf<const T extends string>(name: string, value: unknown, allowed: readonly T[], fallback: T): T {
  if (value === undefined) return fallback
  if (typeof value !== 'string') throw invalidType(name, 'of type string', value)
  const found = allowed.find((candidate) => candidate === value)
  if (found === undefined) {
    throw invalidValue(name, value, `must be one of: ${allowed.map((candidate) => `'${candidate}'`).join(', ')}`)
  }
  return found
}

export function signal(name: string, value: unknown): AbortSignal | undefined {
  if (value === undefined) return undefined
  if (!(value instanceof AbortSignal)) throw invalidType(name, 'an instance of AbortSignal', value)
  return value
}

/** Returns an options object. Throws for a property that is not in `known`; `refused` has reasons for some of these. */
export function optionsObject(
  name: string,
  value: unknown,
  known: readonly string[],
  refused?: Readonly<Record<string, string>>,
): object {
  const options = anyObject(name, value)
  checkKnownOptions(name, options, known, refused)
  return options
}

/** Returns an object that is no array. */
export function anyObject(name: string, value: unknown): object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidType(name, 'of type object', value)
  }
  return value
}
