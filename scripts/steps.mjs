// What every command of the repository shares: named steps that a person can follow, child processes whose output is
// seen as it comes, and one way to fail. Builtins only, because it runs before anything is installed.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** The repository's folder. */
export const root = fileURLToPath(new URL('..', import.meta.url))

/** A failure that its message explains in full: it is shown without a stack. */
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

/**
 * Runs a command in the repository's folder and resolves when it has succeeded.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: Record<string, string | undefined> }} [options]
 */
export async function run(command, args, options = {}) {
  const { code, signal } = await ended(launch(command, args, 'inherit', options))
  if (code !== 0) throw stopped(command, args, code, signal)
}

/**
 * As `run`, and returns what the command wrote to its standard output. `echo` shows it as well.
 * Resolves whatever the exit code is: the caller judges it.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: Record<string, string | undefined>, echo?: boolean, quiet?: boolean }} [options]
 */
export async function capture(command, args, options = {}) {
  const child = launch(command, args, ['inherit', 'pipe', options.quiet ? 'ignore' : 'inherit'], options)
  let output = ''
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    output += text
    if (options.echo) process.stdout.write(text)
  })
  const { code, signal } = await ended(child)
  return { output, code: code ?? 1, signal }
}

/**
 * Says what is being done and how long it took.
 *
 * @template T
 * @param {string} title
 * @param {() => Promise<T>} action
 * @returns {Promise<T>}
 */
export async function step(title, action) {
  console.log(paint(1, `==> ${title}`))
  const began = performance.now()
  const result = await action()
  console.log(paint(2, `    done in ${((performance.now() - began) / 1000).toFixed(1)} s\n`))
  return result
}

/**
 * Runs a command's main function; a failure becomes a message and an exit code.
 *
 * @param {() => Promise<void>} action
 */
export async function main(action) {
  try {
    await action()
  } catch (error) {
    if (!(error instanceof Failed)) throw error
    if (error.message !== '') console.error(paint(31, `\n${error.message}`))
    process.exitCode = error.exitCode
  }
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {import('node:child_process').StdioOptions} stdio
 * @param {{ cwd?: string, env?: Record<string, string | undefined> }} options
 */
function launch(command, args, stdio, { cwd = root, env = {} }) {
  return spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio })
}

/**
 * @param {import('node:child_process').ChildProcess} child
 * @returns {Promise<{ code: number | null, signal: NodeJS.Signals | null }>}
 */
async function ended(child) {
  try {
    const [code, signal] = await once(child, 'close')
    return { code, signal }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw new Failed(`${child.spawnfile} was not found on the PATH.`)
    }
    throw error
  }
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {number | null} code
 * @param {NodeJS.Signals | null} signal
 */
function stopped(command, args, code, signal) {
  // Ctrl-C needs no explanation; 130 is what a shell reports for it.
  if (signal === 'SIGINT' || code === 130) return new Failed('', 130)
  return new Failed(`${command} ${args.join(' ')} ended with ${signal ?? `exit code ${code}`}.`)
}

/**
 * By hand and not with util.styleText, which an older Node lacks: such a Node must get as far as being told so.
 *
 * @param {number} code
 * @param {string} text
 */
function paint(code, text) {
  return process.stdout.isTTY && !process.env['NO_COLOR'] ? `\x1b[${code}m${text}\x1b[0m` : text
}
