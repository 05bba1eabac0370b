import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setImmediate } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { fixture } from './fixture.js'
import { limitedNode } from './open-file-limit.js'
import { until } from './until.js'
import { within } from './within.js'

export interface ProgramOptions {
  args?: readonly string[]
  env?: NodeJS.ProcessEnv
  execArgv?: readonly string[]
  /** The working directory. */
  cwd?: string
  uid?: number
  gid?: number
  /** The descriptors that the program inherits, from 3 on. */
  descriptors?: readonly number[]
  /** The limit of open files of the program and its children. */
  openFiles?: number
}

/** A fixture that runs as its own process. */
export class Program {
  readonly process: ChildProcess
  /** The lines that the program and its workers have written to standard output. */
  readonly lines: string[] = []
  errors = ''
  readonly #exit: Promise<unknown[]>
  #next = 0

  constructor(name: string, options: ProgramOptions = {}) {
    const { args = [], env, execArgv = [], descriptors = [], openFiles, ...rest } = options
    const node = openFiles === undefined ? { command: process.execPath, args: [] } : limitedNode(openFiles)
    this.process = spawn(node.command, [...node.args, ...execArgv, fixture(name), ...args], {
      stdio: ['ignore', 'pipe', 'pipe', ...descriptors],
      ...(env === undefined ? {} : { env: { ...process.env, ...env } }),
      ...rest,
    })
    this.#exit = this.#exited()
    const { stdout, stderr } = this.process
    if (stdout !== null) createInterface({ input: stdout }).on('line', (line) => this.lines.push(line))
    stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text
    })
  }

  /** Waits for the next line of output that was not returned before. */
  async line(): Promise<string> {
    const index = this.#next++
    try {
      await until(() => this.lines.length > index)
    } catch (cause) {
      throw new Error(`The program has printed only ${JSON.stringify(this.lines)} and ${this.errors}`, { cause })
    }
    return this.lines[index] ?? ''
  }

  /** Waits for the next line like `line()` and parses it as JSON. */
  async json(): Promise<unknown> {
    return JSON.parse(await this.line())
  }

  /** Waits for the exit and for all output before it. Returns the exit code or the name of the signal. */
  async exit(): Promise<unknown> {
    const [code, signal] = await within(this.#exit, `the exit of ${this.process.spawnargs.join(' ')}`, 60_000)
    return code ?? signal
  }

  /**
   * Resolves when the process has exited and this process has read its output. `exit` can come before the last output; `close` waits
   * for every worker that still has the pipe. Between two immediates libuv polls once, and reads what the pipe contains.
   */
  async #exited(): Promise<unknown[]> {
    const exit = await once(this.process, 'exit')
    for (const _turn of [1, 2]) await setImmediate()
    return exit
  }
}

/** Runs a fixture as its own process, which is killed at the end of the test. */
export function run(t: ExecutionContext, name: string, options?: ProgramOptions): Program {
  const program = new Program(name, options)
  t.teardown(() => program.process.kill('SIGKILL'))
  return program
}
