// Runs the command `socketserver`.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const BIN = fileURLToPath(new URL('../../../dist/lib/command/main.js', import.meta.url))

/** The folder of the apps and their packages. */
export const FOLDER = fileURLToPath(new URL('..', import.meta.url))

/** An app that `socketserver run` runs. */
export class RunningApp {
  #scratch = mkdtempSync(join(tmpdir(), 'apps-'))
  #control = join(this.#scratch, 'control.sock')
  #stderr = ''
  #process

  /**
   * Starts an app with two workers, on a free port of 127.0.0.1.
   *
   * @param {readonly string[]} args further options, the app, and its arguments
   * @param {string} [cwd]
   */
  constructor(args, cwd = FOLDER) {
    const options = ['--workers', '2', '--bind', '127.0.0.1:0', '--control', this.#control, '--drain-timeout', '3000']
    const { WEB_CONCURRENCY, NODE_ENV, ...env } = process.env
    this.#process = spawn(process.execPath, [BIN, 'run', ...options, ...args], {
      cwd,
      env: { ...env, NODE_ENV: 'production', NEXT_TELEMETRY_DISABLED: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#process.stdout.resume()
    this.#process.stderr.setEncoding('utf8').on('data', (text) => {
      this.#stderr += text
    })
  }

  /** What the command and the app have written to standard error. */
  get stderr() {
    return this.#stderr
  }

  /** Waits until every worker is ready. Returns the port. */
  async port() {
    const started = /has 2 workers and listens on .*?:(\d+)/
    while (!started.test(this.#stderr) && this.#process.exitCode === null) {
      await Promise.race([once(this.#process.stderr, 'data'), once(this.#process, 'close')])
    }
    const [, port] = started.exec(this.#stderr) ?? []
    if (port === undefined) throw new Error(`the app has not started: ${this.#stderr}`)
    return Number(port)
  }

  /** Returns the addresses on which the command listens. */
  async listeners() {
    return JSON.parse(await this.command('status', '--json')).listeners
  }

  /**
   * Runs another command on this app. Throws if the command fails.
   *
   * @param {...string} args
   */
  async command(...args) {
    const { stdout } = await promisify(execFile)(process.execPath, [BIN, ...args, '--control', this.#control])
    return stdout
  }

  /** Kills the app if it still runs, and removes its files. */
  async end() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill('SIGKILL')
      await once(this.#process, 'exit')
    }
    rmSync(this.#scratch, { recursive: true })
  }

  /** Waits for the end of the command and returns its exit code or signal. */
  async exit() {
    if (this.#process.exitCode === null) await once(this.#process, 'exit')
    return this.#process.exitCode ?? this.#process.signalCode
  }
}
