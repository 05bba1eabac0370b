// Runs one of Node's tests in a separate process, plain or with its servers served by a parent.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const PRELOAD = fileURLToPath(new URL('serve-instead.cjs', import.meta.url))

const CLUSTER_PRIMARY = fileURLToPath(new URL('cluster-primary.cjs', import.meta.url))

const LATE = fileURLToPath(new URL('reset-late.cjs', import.meta.url))

/** The hosts of the parent's listeners. No test uses the last listener: its client keeps the channel open. */
const HOSTS = [...Array(12).fill('::'), ...Array(4).fill('127.0.0.1'), '::1', '127.0.0.1']

/** Characters of a test's output that are kept. */
const OUTPUT_LIMIT = 4000

/**
 * @typedef {object} Outcome
 * @property {boolean} passed
 * @property {string} how the exit code, the signal, or the timeout
 * @property {string} output the last characters of the output
 */

/**
 * Runs a test without a parent.
 *
 * @param {string} file
 * @param {{ timeout: number, env: NodeJS.ProcessEnv }} options `timeout` in milliseconds
 * @returns {Promise<Outcome>}
 */
export async function runPlain(file, { timeout, env }) {
  const child = fork(file, [], { ...processOptions(file), execArgv: flagsOf(file), env })
  return await outcomeOf(child, timeout)
}

/**
 * Runs a test through `serve()`: a parent listens, and the test is its only worker.
 *
 * @param {string} file
 * @param {{ timeout: number, env: NodeJS.ProcessEnv }} options
 * @returns {Promise<Outcome>}
 */
export async function runServed(file, { timeout, env }) {
  const { createServer } = await import('../../dist/index.js')
  const server = createServer()
  server.on('error', () => {})
  try {
    const listeners = []
    for (const host of HOSTS) listeners.push(await server.listen(0, host))
    const pool = server.fork(file, {
      ...processOptions(file),
      workers: 1,
      restart: false,
      readyTimeout: 0,
      execArgv: [...flagsOf(file), '--require', PRELOAD],
      env: { ...env, NODE_SUITE_LISTENERS: JSON.stringify(listeners) },
    })
    resetLate(server, pool)
    // Most tests exit before their pool is closed, and some before they connect.
    pool.ready.catch(() => {})
    const [worker] = pool.workers
    if (worker === undefined) throw new Error(`${file} was not started`)
    return await outcomeOf(worker.process, timeout)
  } finally {
    server.destroy()
    await server.close()
  }
}

/**
 * Runs a test that calls `cluster.fork()` with workers that `server.run()` starts.
 *
 * @param {string} file
 * @param {{ timeout: number, env: NodeJS.ProcessEnv }} options
 * @returns {Promise<Outcome>}
 */
export async function runAsCluster(file, { timeout, env }) {
  const execArgv = [...flagsOf(file), '--require', CLUSTER_PRIMARY]
  return await outcomeOf(fork(file, [], { ...processOptions(file), execArgv, env }), timeout)
}

/**
 * Resets connections to a port whose server the test has closed. serve-instead.cjs reports each port that is served or closed.
 *
 * @param {import('../../dist/index.js').Server} server
 * @param {import('../../dist/index.js').Pool} pool
 */
function resetLate(server, pool) {
  /** @type {import('../../dist/index.js').Pool<import('../../dist/index.js').ThreadHandle> | undefined} */
  let threads
  pool.workers[0]?.process?.on('message', (message) => {
    const reported = Reflect.get(Object(message), 'nodeSuite')
    if (reported === undefined || (reported.isServed && threads === undefined)) return
    threads ??= server.threads(LATE, { workers: 1, restart: false })
    threads.ready.catch(() => {})
    threads.workers[0]?.thread.postMessage(reported)
  })
}

/**
 * @param {string} file
 * @returns {{ cwd: string, stdio: import('node:child_process').StdioOptions }}
 */
function processOptions(file) {
  return { cwd: dirname(file), stdio: ['ignore', 'pipe', 'pipe', 'ipc'] }
}

/**
 * Reads the flags for Node's executable from a test's comment.
 *
 * @param {string} file
 */
function flagsOf(file) {
  const flags = /^\/\/ Flags:(.*)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? ''
  return flags.split(' ').filter((flag) => flag !== '')
}

/**
 * Waits for the exit of a test, and kills the test after `timeout` milliseconds.
 *
 * @param {import('node:child_process').ChildProcess} child
 * @param {number} timeout
 * @returns {Promise<Outcome>}
 */
async function outcomeOf(child, timeout) {
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text) => {
      output = (output + text).slice(-OUTPUT_LIMIT)
    })
  }
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    child.kill('SIGKILL')
  }, timeout)
  const [code, signal] = await once(child, 'exit')
  clearTimeout(timer)
  // Child processes of the test may keep the pipes open.
  child.stdout?.destroy()
  child.stderr?.destroy()
  const how = isLate
    ? `timed out after ${timeout / 1000} s`
    : signal === null
      ? `exit code ${code}`
      : `ended by ${signal}`
  return { passed: code === 0, how, output }
}

/**
 * Returns whether a test calls `listen()`. Other tests cannot differ.
 *
 * @param {string} file
 */
export function listens(file) {
  return /\.listen\(/.test(readFileSync(file, 'utf8'))
}

/**
 * Returns whether a test starts workers of `cluster`.
 *
 * @param {string} file
 */
export function usesCluster(file) {
  return /\bcluster\.fork\(/.test(readFileSync(file, 'utf8'))
}

/**
 * Returns the folders in which the tests may be: `test/parallel`, `parallel`, or the folder itself.
 *
 * @param {string} folder
 */
export function candidates(folder) {
  return [join(folder, 'test', 'parallel'), join(folder, 'parallel'), folder]
}
