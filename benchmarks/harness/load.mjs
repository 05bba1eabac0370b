// Runs of socketserver-load, the clients of every measurement; see crates/load/README.md.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { root } from '../../scripts/steps.mjs'
import { Unmeasured } from './unmeasured.mjs'

/**
 * @typedef {object} Quantiles microseconds
 * @property {number} p50
 * @property {number} p99
 * @property {number} p999
 *
 * @typedef {object} LoadReport
 * @property {boolean} clean
 * @property {number} total
 * @property {Record<string, number>} outcomes
 * @property {number} answered_twice
 * @property {Record<string, number>} workers
 * @property {number} elapsed_seconds
 * @property {number} connections_per_second
 * @property {Quantiles} latency_us
 * @property {string[]} failures
 */

/**
 * @typedef {object} LoadRun
 * @property {'closed' | 'open' | 'hold' | 'http'} mode
 * @property {number} port
 * @property {Record<string, string | number>} options without the dashes
 * @property {number} least right answers without which nothing can be said
 */

const PROGRAM = join(root, 'target', 'release', 'socketserver-load')

/** So that a long run never waits for a port to leave TIME_WAIT. macOS has only 127.0.0.1 by default. */
const SOURCES = process.platform === 'linux' ? 8 : 1

/** Runs a load to its end, and gives its report if that is one to quote.
 *
 * @param {LoadRun} run
 */
export async function load(run) {
  const child = launch(run, ['ignore', 'pipe', 'pipe'])
  return await report(run, child)
}

/**
 * Connections that are held. Resolves when all are open; `release` lets them go and gives the report.
 *
 * @param {Omit<LoadRun, 'mode'>} held
 */
export async function hold(held) {
  /** @type {LoadRun} */
  const run = { ...held, mode: 'hold' }
  const child = launch(run, ['pipe', 'pipe', 'pipe'])
  const reported = report(run, child)
  reported.catch(() => {})
  await Promise.race([holding(child), reported])
  return {
    release: async () => {
      child.stdin?.end()
      return await reported
    },
  }
}

/**
 * A report, if it is one to quote: everything was answered rightly and once, and often enough.
 *
 * @param {string} text
 * @param {number} least
 * @returns {LoadReport}
 */
export function judged(text, least) {
  /** @type {LoadReport} */
  const found = JSON.parse(text)
  const right = found.outcomes['ok'] ?? 0
  if (!found.clean && found.total > 0) {
    const outcomes = Object.entries(found.outcomes).flatMap(([name, count]) => (count > 0 ? [`${count} ${name}`] : []))
    const twice = found.answered_twice > 0 ? `, ${found.answered_twice} tokens answered twice` : ''
    throw new Unmeasured(`wrong answers: ${outcomes.join(', ')}${twice}; ${found.failures[0] ?? ''}`)
  }
  if (right < least) throw new Unmeasured(`too few answers: ${right} where ${least} are the least to judge by`)
  return found
}

/**
 * @param {LoadRun} run
 * @param {import('node:child_process').StdioOptions} stdio
 */
function launch({ mode, port, options }, stdio) {
  const flags = Object.entries({ sources: SOURCES, ...options }).flatMap(([name, value]) => [
    `--${name}`,
    String(value),
  ])
  return spawn(PROGRAM, [mode, '--target', `127.0.0.1:${port}`, ...flags, '--json', '--allow-errors'], { stdio })
}

/**
 * @param {LoadRun} run
 * @param {import('node:child_process').ChildProcess} child
 */
async function report(run, child) {
  let [output, errors] = ['', '']
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    output += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    errors += text
  })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Unmeasured(`the load could not be made: ${errors.trim()}`)
  return judged(output, run.least)
}

/**
 * Resolves when all connections are open, which the program says on standard error.
 *
 * @param {import('node:child_process').ChildProcess} child
 */
async function holding(child) {
  // Not by iterating, whose end would close the pipe.
  await new Promise((/** @type {(nothing?: undefined) => void} */ resolve) => {
    let said = ''
    child.stderr?.on('data', (text) => {
      said += text
      if (said.includes('holding ')) resolve()
    })
  })
}
