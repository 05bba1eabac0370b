// Builds and runs the workers of examples/workers, one for each language.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ExecutionContext } from 'ava'
import { within } from './within.js'

export type Language = 'node' | 'python' | 'c' | 'go' | 'rust'

/** The command of a worker: the program, and its arguments before the shared path. */
export type Command = readonly [program: string, ...args: string[]]

const ROOT = join(__dirname, '..', '..', '..')
const WORKERS = join(ROOT, 'examples', 'workers')
// Kept between runs: Go's standard library takes longer to compile than everything else together.
const BUILT = join(ROOT, 'build', 'workers')

const run = promisify(execFile)

/** Builds all workers whose compiler or interpreter is installed, and warns about the others. Rejects if a build fails. */
export async function buildWorkers(): Promise<Map<Language, Command>> {
  mkdirSync(BUILT, { recursive: true })
  const builders: [Language, () => Promise<Command>][] = [
    ['node', node],
    ['python', python],
    ['c', c],
    ['go', go],
    ['rust', rust],
  ]
  const built = await Promise.all(
    builders.map(async ([language, build]): Promise<[Language, Command][]> => {
      try {
        return [[language, await build()]]
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT' && 'path' in error)) throw error
        console.warn(`${error.path} is not installed: the worker in ${language} is skipped.`)
        return []
      }
    }),
  )
  return new Map(built.flat())
}

/** A running worker, killed at the end of the test. */
export class ReferenceWorker {
  readonly process: ChildProcess
  /** The first word of its answers. */
  readonly name: string
  errors = ''
  readonly #exit: Promise<unknown[]>

  constructor(t: ExecutionContext, language: Language, command: Command, path: string) {
    const [program, ...args] = command
    this.process = spawn(program, [...args, path], { stdio: ['ignore', 'inherit', 'pipe'] })
    this.#exit = once(this.process, 'close')
    this.name = `${language}-${this.process.pid}`
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text
    })
    t.teardown(() => this.process.kill('SIGKILL'))
  }

  get pid(): number {
    return this.process.pid ?? 0
  }

  /** Waits for the exit and returns the exit code or the name of the signal. */
  async exit(): Promise<unknown> {
    const [code, signal] = await within(this.#exit, `the exit of ${this.name}`)
    return code ?? signal
  }
}

async function node(): Promise<Command> {
  return [process.execPath, join(WORKERS, 'node', 'worker.mjs')]
}

async function python(): Promise<Command> {
  // recv_fds exists since 3.9.
  await run('python3', ['-c', 'import socket; socket.recv_fds'])
  return ['python3', join(WORKERS, 'python', 'worker.py')]
}

async function c(): Promise<Command> {
  const source = join(WORKERS, 'c', 'worker.c')
  const strict = ['-O2', '-pedantic', '-Wall', '-Wextra', '-Werror']
  const program = join(BUILT, 'worker-c')
  await run('cc', ['-std=c11', ...strict, '-fsyntax-only', source])
  await run('cc', ['-std=c99', ...strict, '-o', program, source])
  return [program]
}

async function go(): Promise<Command> {
  const program = join(BUILT, 'worker-go')
  const alone = { GOFLAGS: '', GOPROXY: 'off', GOTOOLCHAIN: 'local', CGO_ENABLED: '0' }
  await run('go', ['build', '-o', program, '.'], {
    cwd: join(WORKERS, 'go'),
    env: { ...process.env, ...alone, GOCACHE: join(BUILT, 'go-cache') },
  })
  return [program]
}

async function rust(): Promise<Command> {
  await run('cargo', ['build', '--release', '--package', 'socketserver-worker'], { cwd: ROOT })
  return [join(ROOT, 'target', 'release', 'socketserver-worker')]
}
