// Converts and checks single settings. Each function takes the name of the setting, for the error message, and the value from the
// command line, the environment or a config file.

import { availableParallelism } from 'node:os'
import { usageError } from '../command-error.js'

/** Returns a number of workers: a whole number from 1, or `max`. */
export function workersOf(name: string, value: unknown): number {
  if (value === 'max') return availableParallelism()
  const count = wholeNumber(value)
  if (count !== undefined && count >= 1 && count <= MAX_WORKERS) return count
  throw usageError(
    `${name} must be a whole number from 1 to ${MAX_WORKERS}, or max for one per CPU, not ${shown(value)}`,
  )
}

/** Returns a whole number within bounds. */
export function integerOf(name: string, value: unknown, min: number, max: number): number {
  const number = wholeNumber(value)
  if (number !== undefined && number >= min && number <= max) return number
  throw usageError(`${name} must be a whole number from ${min} to ${max}, not ${shown(value)}`)
}

/** Returns milliseconds within the range of Node's timers. */
export function millisecondsOf(name: string, value: unknown): number {
  const number = wholeNumber(value)
  if (number !== undefined && number <= LONGEST_TIMER) return number
  throw usageError(`${name} must be a whole number of milliseconds, not ${shown(value)}`)
}

/** Returns bytes from a number, or a number with K, M or G for powers of 1024. */
export function bytesOf(name: string, value: unknown): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?$/i.exec(String(value).trim()) ?? []
  const bytes = Math.floor(Number(digits) * 1024 ** ['', 'K', 'M', 'G'].indexOf(unit.toUpperCase()))
  if (Number.isSafeInteger(bytes) && bytes >= 1) return bytes
  throw usageError(`${name} must be a size such as 300M or 1G, not ${shown(value)}`)
}

export function oneOf<const T extends string>(name: string, value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value)
  if (found !== undefined) return found
  throw usageError(`${name} must be one of ${allowed.join(', ')}, not ${shown(value)}`)
}

export function stringOf(name: string, value: unknown): string {
  if (typeof value === 'string' && value !== '' && !value.includes('\0')) return value
  throw usageError(`${name} must be a non-empty string, not ${shown(value)}`)
}

/** Returns a list of strings. A single string is a list of one. */
export function stringsOf(name: string, value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  return list.map((item) => stringOf(name, item))
}

/** Returns a list of arguments, which may be empty strings. */
export function argumentsOf(name: string, value: unknown): string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === 'string' && !item.includes('\0'))) return [...value]
  throw usageError(`${name} must be a list of strings, not ${shown(value)}`)
}

/** Returns a boolean. The empty string is true, because a flag of the command line has this value. */
export function booleanOf(name: string, value: unknown): boolean {
  if (value === '') return true
  if (typeof value === 'boolean') return value
  throw usageError(`${name} must be true or false, not ${shown(value)}`)
}

/** Returns the name of an app. The name is also used as a file name. */
export function nameOf(name: string, value: unknown): string {
  if (typeof value === 'string' && APP_NAME.test(value)) return value
  throw usageError(`${name} must consist of up to 64 letters, digits, '.', '_' and '-', not ${shown(value)}`)
}

/** Returns at most 80 characters of a value as text for a message. */
export function shown(value: unknown): string {
  const text = typeof value === 'string' ? `'${value}'` : (JSON.stringify(value) ?? String(value))
  return text.length > 80 ? `${text.slice(0, 80)}...` : text
}

/** Converts a number or a string of digits to a whole number. Returns undefined for any other value. */
function wholeNumber(value: unknown): number | undefined {
  if (typeof value === 'string' && !/^\d+$/.test(value)) return undefined
  if (typeof value !== 'string' && typeof value !== 'number') return undefined
  const number = Number(value)
  return Number.isSafeInteger(number) && number >= 0 ? number : undefined
}

const APP_NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/

/** The limit of a pool. A larger number is a mistake: the default of Linux's pid_max is 32768. */
const MAX_WORKERS = 65_535

/** Milliseconds. Node's timers with a longer delay fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1
