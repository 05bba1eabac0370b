// Shared by every command: runs programs, reports steps, and reports failures. Uses only Node's own modules, because a
// fresh clone has no node_modules yet.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

/** The repository's folder. */
export const root = fileURLToPath(new URL('..', import.meta.url))

/** A failure whose message needs no stack trace. */
export class Failed extends Error {
  /**
   * @param {string} message
   * @param {number} [exitCode]
   */
  constructor(message, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

/** @typedef {{ cwd?: string, env?: Record<string, string | undefined> }} RunOptions */

/**
 * Runs a program in the repository's folder. Throws `Failed` if the program fails.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 */
export async function run(command, args, options = {}) {
  const code = await exitCode(launch(command, args, 'inherit', options))
  if (code !== 0) throw new Failed(`\`${[command, ...args].join(' ')}\` failed with exit code ${code}.`, code)
}

/**
 * Runs a program and returns its exit code and its standard output. `echo` also prints the output; `quiet` discards
 * standard error.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions & { echo?: boolean, quiet?: boolean }} [options]
 */
export async function capture(command, args, options = {}) {
  const child = launch(command, args, ['inherit', 'pipe', options.quiet ? 'ignore' : 'inherit'], options)
  let output = ''
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    output += text
    if (options.echo) process.stdout.write(text)
  })
  return { code: await exitCode(child), output }
}

/**
 * Prints the title of a step, runs the step, and prints how long it took.
 *
 * @template T
 * @param {string} title
 * @param {() => Promise<T>} action
 * @returns {Promise<T>}
 */
export async function step(title, action) {
  console.log(`==> ${title}`)
  const start = performance.now()
  const result = await action()
  console.log(`    done in ${((performance.now() - start) / 1000).toFixed(1)} s\n`)
  return result
}

/**
 * Runs a command's main function. Prints the message of a `Failed` and sets the exit code.
 *
 * @param {() => Promise<void>} action
 */
export async function main(action) {
  try {
    await action()
  } catch (error) {
    if (!(error instanceof Failed)) throw error
    console.error(`\n${error.message}`)
    process.exitCode = error.exitCode
  }
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {import('node:child_process').StdioOptions} stdio
 * @param {RunOptions} options
 */
function launch(command, args, stdio, { cwd = root, env = {} }) {
  return spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio })
}

/**
 * Returns the exit code that a shell would report: 127 for a program that does not exist, 128 + n after signal n.
 *
 * @param {import('node:child_process').ChildProcess} child
 * @returns {Promise<number>}
 */
async function exitCode(child) {
  try {
    const [code, signal] = await once(child, 'close')
    return code ?? 128 + constants.signals[/** @type {NodeJS.Signals} */ (signal)]
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 127
    throw error
  }
}
