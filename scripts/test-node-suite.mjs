// Runs Node's own tests of servers twice, as they are and with their servers served by a parent, and prints which fail only
// through `serve()`. It fetches nothing: it is given a folder with the tests of Node's repository (test/parallel, with test/common
// beside it), best of the version that runs them.
//
//     npm run test:node-suite -- ../node                    every test that listens
//     npm run test:node-suite -- ../node test-http- test-net-   only those whose names begin so
//     npm run test:node-suite -- ../node --jobs=4 --timeout=60  as many at a time, so many seconds for each
//     npm run test:node-suite -- ../node --verbose          with what the tests have written
//
// exceptions.mjs lists those that are expected to fail. Everything else fails this command.

import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { EXCEPTIONS } from './node-suite/exceptions.mjs'
import { candidates, listens, runPlain, runServed } from './node-suite/run-test.mjs'
import { Failed, main } from './steps.mjs'

/** @typedef {{ file: string, plain: import('./node-suite/run-test.mjs').Outcome, served: import('./node-suite/run-test.mjs').Outcome }} Result */

await main(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      jobs: { type: 'string', default: String(availableParallelism()) },
      timeout: { type: 'string', default: '60' },
      verbose: { type: 'boolean', default: false },
    },
  })
  const [folder, ...prefixes] = positionals
  if (folder === undefined) throw new Failed('Which folder has the tests? npm run test:node-suite -- FOLDER')
  const jobs = positive('jobs', values.jobs)
  const timeout = positive('timeout', values.timeout) * 1000
  const files = testsIn(folder, prefixes)
  const scratch = mkdtempSync(join(tmpdir(), 'node-suite-'))
  try {
    let serial = 0
    const run = async (/** @type {string} */ file) => await runBoth(file, timeout, scratch, ++serial)
    const results = await inParallel(files, jobs, run)
    // Some of Node's tests are about time. Those get another chance, with the machine to themselves.
    for (const [index, result] of results.entries()) if (failsHere(result)) results[index] = await run(result.file)
    tell(results, values.verbose)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
})

/**
 * @param {string} file
 * @param {number} timeout
 * @param {string} scratch
 * @param {number} serial
 * @returns {Promise<Result>}
 */
async function runBoth(file, timeout, scratch, serial) {
  // Node's tests keep apart by these two.
  const env = { ...process.env, NODE_TEST_DIR: scratch, TEST_SERIAL_ID: String(serial), TEST_THREAD_ID: String(serial) }
  const options = { timeout, env }
  const plain = await runPlain(file, options)
  const result = { file, plain, served: await runServed(file, options) }
  // To the other stream: whether it counts is not known before it has been tried again.
  if (failsHere(result)) console.error(`${basename(file)} fails through serve(): ${result.served.how}`)
  return result
}

/**
 * @param {string} folder
 * @param {readonly string[]} prefixes
 */
function testsIn(folder, prefixes) {
  const found = candidates(resolve(folder)).find((path) => existsSync(path) && testNames(path).length > 0)
  if (found === undefined)
    throw new Failed(`There are no tests of Node's in ${folder}: no test-*.js, and no test/parallel.`)
  const names = testNames(found).filter(
    (name) => prefixes.length === 0 || prefixes.some((prefix) => name.startsWith(prefix)),
  )
  return names.map((name) => join(found, name)).filter(listens)
}

/**
 * @param {string} folder
 */
function testNames(folder) {
  if (!statSync(folder).isDirectory()) return []
  return readdirSync(folder).filter((name) => /^test-.*\.m?js$/.test(name))
}

/**
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
 * @param {Result} result
 */
function failsHere({ plain, served }) {
  return plain.passed && !served.passed
}

/**
 * @param {readonly Result[]} results
 * @param {boolean} verbose
 */
function tell(results, verbose) {
  let unexpected = 0
  for (const { file, served } of results.filter(failsHere)) {
    const name = basename(file)
    const reason = EXCEPTIONS[name]
    if (reason === undefined) unexpected += 1
    console.log(`${name}: ${served.how}${reason === undefined ? '' : `, as expected: ${reason}`}`)
    if (verbose) console.log(served.output.replaceAll(/^/gm, '    '))
  }
  for (const { file, plain, served } of results) {
    const isOver = basename(file) in EXCEPTIONS && plain.passed && served.passed
    if (isOver) console.log(`${basename(file)}: passes, and can go from the exceptions`)
  }
  const passed = results.filter(({ plain, served }) => plain.passed && served.passed).length
  const failed = results.filter(({ plain }) => !plain.passed).length
  console.log(`${results.length} tests listen: ${passed} pass both ways, ${failed} fail without serve() already`)
  console.log(`${unexpected} fail only through serve()`)
  if (unexpected > 0) process.exitCode = 1
}

/**
 * @param {string} name
 * @param {string} value
 */
function positive(name, value) {
  const number = Number(value)
  if (!(Number.isInteger(number) && number > 0))
    throw new Failed(`--${name} is '${value}', which is no positive integer.`)
  return number
}
