// How long a service takes, and how long it took. The length is a function of the token, so that every peer, and the
// simulated queue, serves the very same customers; the timers of Node add up to a millisecond, and the simulation is to
// have that too, so what a service took is written down.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { threadId } from 'node:worker_threads'
import { settings } from './settings.mjs'

/** Milliseconds. */
export const SHORT = 10
/** Milliseconds. */
export const LONG = 110
/** One in so many is long. */
const LONG_ONE_IN = 10

const { records, seed = 0 } = settings()

/** @type {string[]} */
const taken = []

/**
 * Milliseconds for this token.
 *
 * @param {string} token
 */
export function serviceTime(token) {
  return mixed(serial(token) ^ seed) % LONG_ONE_IN === 0 ? LONG : SHORT
}

/**
 * Notes that this token's service took so many milliseconds; it is written when the process ends.
 *
 * @param {string} token
 * @param {number} elapsed
 */
export function record(token, elapsed) {
  if (records === undefined) return
  if (taken.length === 0) process.on('exit', () => save(records))
  taken.push(`${serial(token)} ${elapsed.toFixed(3)}`)
}

/** @param {string} folder */
function save(folder) {
  writeFileSync(join(folder, `${process.pid}.${threadId}.services`), taken.join('\n'))
}

/** @param {string} token '<tag>-<serial>' */
function serial(token) {
  return Number.parseInt(token.slice(token.indexOf('-') + 1), 10)
}

/**
 * Spreads neighbouring numbers: the finalizer of MurmurHash3.
 *
 * @param {number} value
 */
function mixed(value) {
  let bits = value | 0
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return (bits ^ (bits >>> 16)) >>> 0
}
