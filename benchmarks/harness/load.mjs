// Runs socketserver-load, which provides the clients of every measurement. See crates/load/README.md.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { root } from '../../scripts/steps.mjs'
import { MeasurementError } from './measurement-error.mjs'

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
 * @property {Record<string, string | number>} options without the leading dashes
 * @property {number} least correct answers that a valid measurement needs
 */

const PROGRAM = join(root, 'target', 'release', 'socketserver-load')

/** Source addresses, so that a long run does not run out of ports in TIME_WAIT. macOS has only 127.0.0.1 by default. */
const SOURCES = process.platform === 'linux' ? 8 : 1

/**
 * Runs a load to its end and returns its report. Throws if the report is not valid.
 *
 * @param {LoadRun} run
 */
export async function load(run) {
  const child = launch(run, ['ignore', 'pipe', 'pipe'])
  return await finished(run, child)
}

/**
 * Opens connections and holds them. Resolves when all are open. `release` closes them and returns the report.
 *
 * @param {Omit<LoadRun, 'mode'>} wanted
 */
export async function hold(wanted) {
  /** @type {LoadRun} */
  const run = { ...wanted, mode: 'hold' }
  const child = launch(run, ['pipe', 'pipe', 'pipe'])
  const reported = finished(run, child)
  reported.catch(() => {})
  await Promise.race([allOpen(child), reported])
  return {
    release: async () => {
      child.stdin?.end()
      return await reported
    },
  }
}

/**
 * Parses a report. Throws if an answer was wrong or given twice, or if there are too few answers.
 *
 * @param {string} text
 * @param {number} least
 * @returns {LoadReport}
 */
function parseReport(text, least) {
  /** @type {LoadReport} */
  const report = JSON.parse(text)
  const correct = report.outcomes['ok'] ?? 0
  if (!report.clean && report.total > 0) {
    const outcomes = Object.entries(report.outcomes).flatMap(([name, count]) => (count > 0 ? [`${count} ${name}`] : []))
    const twice = report.answered_twice > 0 ? `, ${report.answered_twice} tokens answered twice` : ''
    throw new MeasurementError(`wrong answers: ${outcomes.join(', ')}${twice}; ${report.failures[0] ?? ''}`)
  }
  if (correct < least) throw new MeasurementError(`too few correct answers: ${correct} instead of at least ${least}`)
  return report
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
async function finished(run, child) {
  let [output, errors] = ['', '']
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    output += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    errors += text
  })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new MeasurementError(`the load generator failed: ${errors.trim()}`)
  return parseReport(output, run.least)
}

/**
 * Resolves when all connections are open. The program then prints 'holding' on standard error.
 *
 * @param {import('node:child_process').ChildProcess} child
 */
async function allOpen(child) {
  // Iterating over the stream would close the pipe at the end.
  await new Promise((/** @type {(nothing?: undefined) => void} */ resolve) => {
    let output = ''
    child.stderr?.on('data', (text) => {
      output += text
      if (output.includes('holding ')) resolve()
    })
  })
}
