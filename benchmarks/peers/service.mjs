// Service times. The service time depends only on the token, so that all peers and the simulated queue serve the same
// load. Node's timers add up to a millisecond, so the simulation uses the recorded times.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { threadId } from 'node:worker_threads'
import { settings } from './settings.mjs'

/** Milliseconds. */
const SHORT = 10
/** Milliseconds. */
const LONG = 110
/** One of this many services is long. */
const LONG_ONE_IN = 10

const { records, seed = 0 } = settings()

/** @type {string[]} */
const recorded = []

/**
 * Returns the service time of this token in milliseconds.
 *
 * @param {string} token
 */
export function serviceTime(token) {
  return hash(serial(token) ^ seed) % LONG_ONE_IN === 0 ? LONG : SHORT
}

/**
 * Records how many milliseconds a service took. The records are written to a file when the process exits.
 *
 * @param {string} token
 * @param {number} elapsed
 */
export function record(token, elapsed) {
  if (records === undefined) return
  if (recorded.length === 0) process.on('exit', () => save(records))
  recorded.push(`${serial(token)} ${elapsed.toFixed(3)}`)
}

/** @param {string} folder */
function save(folder) {
  writeFileSync(join(folder, `${process.pid}.${threadId}.services`), recorded.join('\n'))
}

/** @param {string} token '<tag>-<serial>' */
function serial(token) {
  return Number.parseInt(token.slice(token.indexOf('-') + 1), 10)
}

/**
 * Hashes a number with the finalizer of MurmurHash3.
 *
 * @param {number} value
 */
function hash(value) {
  let bits = value | 0
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return (bits ^ (bits >>> 16)) >>> 0
}
