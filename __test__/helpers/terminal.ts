import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { fixture } from './fixture.js'
import { temporaryDirectory } from './temporary-directory.js'
import { until } from './until.js'
import { within } from './within.js'

const BIN = join(__dirname, '..', '..', '..', 'dist', 'lib', 'command', 'main.js')
const COMMAND = [process.execPath, '--require', fixture('ends-with-its-test'), BIN]

/** The results of a command that has ended. */
export interface Ended {
  code: unknown
  stdout: string
  stderr: string
}

/** A command that runs, killed with the test, and by `ends-with-its-test` when the test's process ends before. */
export class Running {
  readonly process: ChildProcess
  stdout = ''
  stderr = ''
  readonly #close: Promise<unknown[]>

  constructor(t: ExecutionContext, [file = '', ...args]: readonly string[], cwd: string, env: NodeJS.ProcessEnv) {
    this.process = spawn(file, args, { cwd, env, stdio: ['pipe', 'pipe', 'pipe', 'pipe'] })
    this.#close = once(this.process, 'close')
    this.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    t.teardown(() => this.process.kill('SIGKILL'))
  }

  get pid(): number {
    return this.process.pid ?? 0
  }

  /** Waits until it has written this to its standard error. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    await until(() => pattern.test(this.stderr) || this.process.exitCode !== null)
    // An exit can come before the last output.
    if (!pattern.test(this.stderr)) await within(this.#close, `the end of ${this.process.spawnargs.join(' ')}`)
    const match = pattern.exec(this.stderr)
    if (match === null) throw new Error(`It has not said ${pattern}, but: ${this.stderr}`)
    return match
  }

  /** Waits until its app is ready, and returns the port that the first listener has. */
  async port(): Promise<number> {
    return Number((await this.says(/ listens on .*?:(\d+)/))[1])
  }

  /** Waits for its end. */
  async ended(): Promise<Ended> {
    const [code, signal] = await within(this.#close, `the end of ${this.process.spawnargs.join(' ')}`, 60_000)
    return { code: code ?? signal, stdout: this.stdout, stderr: this.stderr }
  }
}

/** A terminal in a new folder, whose control sockets are in another new folder. */
export class Terminal {
  readonly folder: string
  readonly env: NodeJS.ProcessEnv
  readonly #t: ExecutionContext

  constructor(t: ExecutionContext) {
    this.#t = t
    this.folder = temporaryDirectory(t)
    const runtime = join(this.folder, 'run')
    mkdirSync(runtime)
    // Node writes no colours if `CI` is set.
    const { WEB_CONCURRENCY, PORT, NODE_ENV, CI, NO_COLOR, FORCE_COLOR, ...env } = process.env
    this.env = { ...env, XDG_RUNTIME_DIR: runtime }
  }

  /** The folder of the control sockets. */
  get controls(): string {
    return join(this.folder, 'run', 'socketserver')
  }

  /** Writes a file into the folder and returns its path. */
  write(name: string, text: string): string {
    const path = join(this.folder, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
    return path
  }

  /** Starts a command. */
  start(args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
    return new Running(this.#t, [...COMMAND, ...args], this.folder, { ...this.env, ...env })
  }

  /** Starts a command in a new pseudo terminal: its standard error is in `stdout` as well. Linux only. */
  startInTty(args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
    const words = [...COMMAND, ...args].map((word) => `'${word}'`).join(' ')
    const tty = ['script', '--quiet', '--return', '--flush', '--command', `exec ${words}`, '/dev/null']
    return new Running(this.#t, tty, this.folder, { TERM: 'xterm', ...this.env, ...env })
  }

  /** Runs a command to its end. */
  async type(...args: string[]): Promise<Ended> {
    return await this.start(args).ended()
  }

  /** Runs `socketserver status --json` and returns what it prints. */
  async status(name?: string): Promise<Status> {
    const { stdout, stderr, code } = await this.type('status', '--json', ...(name === undefined ? [] : [name]))
    if (code !== 0) throw new Error(stderr)
    return JSON.parse(stdout)
  }
}

export type Status = import('../../dist/lib/command/control/control-protocol.js').Status
