// Runs Node's own server tests twice, plain and with their servers served by a parent, and prints the tests that fail only
// through `serve()`. Needs a folder with the tests of Node's repository (test/parallel, with test/common beside it), preferably
// of the running version. Downloads nothing.
//
//     npm run test:node-suite -- ../node                        every test that listens
//     npm run test:node-suite -- ../node test-http- test-net-   only tests whose names begin like that
//     npm run test:node-suite -- ../node --jobs=4 --timeout=60  four tests at a time, 60 seconds for each
//     npm run test:node-suite -- ../node --verbose              prints the output of failed tests
//     npm run test:node-suite -- ../node --cluster              every test that calls cluster.fork(), with workers of server.run()
//
// With --cluster, Node's own primary makes the Worker objects and their events, and a preload speaks its messages in the worker. What
// the worker listens on, and what its cluster.worker does, is this package's. exceptions.mjs and cluster-exceptions.mjs list the expected failures. Any other failure fails this command.

import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { CLUSTER_EXCEPTIONS } from './node-suite/cluster-exceptions.mjs'
import { EXCEPTIONS } from './node-suite/exceptions.mjs'
import { candidates, listens, runAsCluster, runPlain, runServed, usesCluster } from './node-suite/run-test.mjs'
import { Failed, main } from './steps.mjs'

/** @typedef {{ file: string, plain: import('./node-suite/run-test.mjs').Outcome, served: import('./node-suite/run-test.mjs').Outcome }} Result */

/**
 * @typedef {object} Mode
 * @property {(file: string) => boolean} concerns
 * @property {typeof runServed} run
 * @property {Readonly<Record<string, string>>} exceptions
 * @property {string} does what its tests have in common
 * @property {string} call
 */

/** @type {Mode} */
const SERVE = { concerns: listens, run: runServed, exceptions: EXCEPTIONS, does: 'listen', call: 'serve()' }

/** @type {Mode} */
const CLUSTER = {
  concerns: usesCluster,
  run: runAsCluster,
  exceptions: CLUSTER_EXCEPTIONS,
  does: 'start workers',
  call: 'server.run()',
}

await main(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      jobs: { type: 'string', default: String(availableParallelism()) },
      timeout: { type: 'string', default: '60' },
      verbose: { type: 'boolean', default: false },
      cluster: { type: 'boolean', default: false },
    },
  })
  const [folder, ...prefixes] = positionals
  if (folder === undefined) throw new Failed('Which folder has the tests? npm run test:node-suite -- FOLDER')
  const jobs = positive('jobs', values.jobs)
  const timeout = positive('timeout', values.timeout) * 1000
  const mode = values.cluster ? CLUSTER : SERVE
  const files = testsIn(folder, prefixes, mode)
  const scratch = mkdtempSync(join(tmpdir(), 'node-suite-'))
  try {
    let serial = 0
    const run = async (/** @type {string} */ file) => await runBoth(file, timeout, scratch, ++serial, mode)
    const results = await inParallel(files, jobs, run)
    // Some of Node's tests depend on timing. A failed test is repeated while no other test runs.
    for (const [index, result] of results.entries()) if (failsHere(result)) results[index] = await run(result.file)
    report(results, values.verbose, mode)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
})

/**
 * Runs a test plain and through `serve()`.
 *
 * @param {string} file
 * @param {number} timeout milliseconds
 * @param {string} scratch
 * @param {number} serial
 * @param {Mode} mode
 * @returns {Promise<Result>}
 */
async function runBoth(file, timeout, scratch, serial, mode) {
  // With these variables Node's tests use different ports and temporary folders.
  const env = { ...process.env, NODE_TEST_DIR: scratch, TEST_SERIAL_ID: String(serial), TEST_THREAD_ID: String(serial) }
  const options = { timeout, env }
  const plain = await runPlain(file, options)
  const result = { file, plain, served: await mode.run(file, options) }
  // On standard error, because the repetition may pass.
  if (failsHere(result)) console.error(`${basename(file)} fails through ${mode.call}: ${result.served.how}`)
  return result
}

/**
 * Returns the paths of the tests that listen.
 *
 * @param {string} folder
 * @param {readonly string[]} prefixes
 * @param {Mode} mode
 */
function testsIn(folder, prefixes, { concerns }) {
  const found = candidates(resolve(folder)).find((path) => existsSync(path) && testNames(path).length > 0)
  if (found === undefined)
    throw new Failed(`There are none of Node's tests in ${folder}: no test-*.js, and no test/parallel.`)
  const names = testNames(found).filter(
    (name) => prefixes.length === 0 || prefixes.some((prefix) => name.startsWith(prefix)),
  )
  return names.map((name) => join(found, name)).filter(concerns)
}

/** @param {string} folder */
function testNames(folder) {
  if (!statSync(folder).isDirectory()) return []
  return readdirSync(folder).filter((name) => /^test-.*\.m?js$/.test(name))
}

/**
 * Maps items with at most `jobs` actions at a time.
 *
 * @template T, R
 * @param {readonly T[]} items
 * @param {number} jobs
 * @param {(item: T) => Promise<R>} action
 * @returns {Promise<R[]>}
 */
async function inParallel(items, jobs, action) {
  /** @type {R[]} */
  const results = []
  const entries = items.entries()
  const work = async () => {
    for (const [index, item] of entries) results[index] = await action(item)
  }
  await Promise.all(Array.from({ length: jobs }, work))
  return results
}

/**
 * Returns whether a test fails only through `serve()`.
 *
 * @param {Result} result
 */
function failsHere({ plain, served }) {
  return plain.passed && !served.passed
}

/**
 * Prints the results, and sets the exit code after an unexpected failure.
 *
 * @param {readonly Result[]} results
 * @param {boolean} verbose
 * @param {Mode} mode
 */
function report(results, verbose, { exceptions, does, call }) {
  let unexpected = 0
  for (const { file, served } of results.filter(failsHere)) {
    const name = basename(file)
    const reason = exceptions[name]
    if (reason === undefined) unexpected += 1
    console.log(`${name}: ${served.how}${reason === undefined ? '' : `, as expected: ${reason}`}`)
    if (verbose) console.log(served.output.replaceAll(/^/gm, '    '))
  }
  for (const { file, plain, served } of results) {
    const isObsolete = basename(file) in exceptions && plain.passed && served.passed
    if (isObsolete) console.log(`${basename(file)}: passes; remove its exception`)
  }
  const passed = results.filter(({ plain, served }) => plain.passed && served.passed).length
  const failed = results.filter(({ plain }) => !plain.passed).length
  console.log(`${results.length} tests ${does}: ${passed} pass both ways, ${failed} fail also without ${call}`)
  console.log(`${unexpected} fail only through ${call}`)
  if (unexpected > 0) process.exitCode = 1
}

/**
 * Parses the value of an option.
 *
 * @param {string} name
 * @param {string} value
 */
function positive(name, value) {
  const number = Number(value)
  if (!(Number.isInteger(number) && number > 0))
    throw new Failed(`--${name} must be a positive integer, not '${value}'.`)
  return number
}
