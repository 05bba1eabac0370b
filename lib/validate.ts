// Validates single values. Each function returns the value, or the default for undefined, or throws the error that Node would throw.

import { invalidType, invalidValue, outOfRange } from './errors.js'
import { checkKnownOptions } from './known-options.js'

/** Returns an integer from `min` to `max`. */
export function integer(name: string, value: unknown, min: number, max: number): number {
  if (typeof value !== 'number') throw invalidType(name, 'of type number', value)
  if (!Number.isInteger(value)) throw outOfRange(name, 'an integer', value)
  if (value < min || value > max) throw outOfRange(name, `>= ${min} && <= ${max}`, value)
  return value
}

/** Returns a port, 0 to 65535. Accepts a string of digits, as Node does, because ports come from the environment. */
export function port(name: string, value: unknown): number {
  if (isPortNumber(value)) return integer(name, Number(value), 0, 65535)
  if (typeof value === 'string') throw invalidValue(name, value, 'must be a port number')
  return integer(name, value, 0, 65535)
}

/** Returns whether a string means a port where a path is possible too. */
export function isPortNumber(value: unknown): value is string {
  return typeof value === 'string' && /^\s*\d+\s*$/.test(value)
}

/** Returns milliseconds, at most 2147483647: a longer timer of Node fires at once. */
export function milliseconds(name: string, value: unknown, fallback: number): number {
  return value === undefined ? fallback : integer(name, value, 0, 2 ** 31 - 1)
}

/** Returns a boolean. */
export function boolean(name: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback
  if (typeof value !== 'boolean') throw invalidType(name, 'of type boolean', value)
  return value
}

/** Returns a string. */
export function string(name: string, value: unknown): string {
  if (typeof value !== 'string') throw invalidType(name, 'of type string', value)
  return value
}

/** Returns a path: not empty, and without a NUL, at which the kernel would cut the path off. */
export function path(name: string, value: unknown): string {
  const text = string(name, value)
  if (text === '') throw invalidValue(name, value, 'must not be empty')
  if (text.includes('\0')) throw invalidValue(name, value, 'must be a string without null bytes')
  return text
}

/** Returns the name of a Unix socket: a path or, on Linux, an abstract name, which begins with a null byte. */
export function socketName(name: string, value: unknown): string {
  if (typeof value !== 'string' || !value.startsWith('\0')) return path(name, value)
  if (process.platform !== 'linux') {
    throw invalidValue(name, value, 'must not begin with a null byte: only Linux has abstract names')
  }
  if (value.length === 1) throw invalidValue(name, value, 'must have a name after the null byte')
  return value
}

/** Returns a list of user or group ids; an empty list for undefined. */
export function ids(name: string, value: unknown): number[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw invalidType(name, 'an instance of Array', value)
  // 2^32 - 1 means "no id" in chown(2).
  return value.map((item: unknown, index) => integer(`${name}[${index}]`, item, 0, 2 ** 32 - 2))
}

/** Returns a list of strings; an empty list for undefined. */
export function strings(name: string, value: unknown): string[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw invalidType(name, 'an instance of Array', value)
  return value.map((item: unknown, index) => string(`${name}[${index}]`, item))
}

/** Returns one of the allowed strings. */
export function oneOf<const T extends string>(name: string, value: unknown, allowed: readonly T[], fallback: T): T {
  if (value === undefined) return fallback
  if (typeof value !== 'string') throw invalidType(name, 'of type string', value)
  const found = allowed.find((candidate) => candidate === value)
  if (found === undefined) {
    throw invalidValue(name, value, `must be one of: ${allowed.map((candidate) => `'${candidate}'`).join(', ')}`)
  }
  return found
}

/** Returns an AbortSignal, or undefined. */
export function signal(name: string, value: unknown): AbortSignal | undefined {
  if (value === undefined) return undefined
  if (!(value instanceof AbortSignal)) throw invalidType(name, 'an instance of AbortSignal', value)
  return value
}

/** Returns an options object. Throws for a property that is not in `known`; `refused` has messages for some of these. */
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

/** Returns an object that is not an array. */
export function anyObject(name: string, value: unknown): object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidType(name, 'of type object', value)
  }
  return value
}
