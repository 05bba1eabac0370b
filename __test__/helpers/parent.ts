import type { ServerStats } from '@socketserver/node'
import type { ExecutionContext } from 'ava'
import { type Program, type ProgramOptions, run } from './program.js'
import { until } from './until.js'

/** A parent in a process of its own, the fixture `parent-of-fixture`, with workers of another fixture, all connected. */
export class Parent {
  readonly program: Program
  readonly port: number
  /** The process ids of its workers. */
  readonly workers: readonly number[]

  constructor(program: Program, { port, pids }: { port: number; pids: number[] }) {
    this.program = program
    this.port = port
    this.workers = pids
  }

  get pid(): number {
    return this.program.process.pid ?? 0
  }

  /** What its server's `error` events have said. */
  get errors(): string[] {
    return this.#said('error').map(String)
  }

  /** Tells the workers `go`. */
  go(): void {
    process.kill(this.pid, 'SIGUSR1')
  }

  /** Asks how things stand. */
  async stats(): Promise<ServerStats> {
    const before = this.#said('stats').length
    process.kill(this.pid, 'SIGUSR2')
    await until(() => this.#said('stats').length > before)
    return JSON.parse(JSON.stringify(this.#said('stats').at(-1)))
  }

  #said(key: string): unknown[] {
    const lines = this.program.lines.filter((line) => line.startsWith(`{"${key}":`))
    return lines.map((line) => Reflect.get(JSON.parse(line), key))
  }
}

export async function startParent(
  t: ExecutionContext,
  { fixture, workers = 1, ...options }: ProgramOptions & { fixture: string; workers?: number },
): Promise<Parent> {
  const program = run(t, 'parent-of-fixture', { ...options, args: [fixture, String(workers)] })
  return new Parent(program, JSON.parse(await program.line()))
}

/** Root is exempt from many a limit: then a program is run as nobody. */
export function ordinaryUser(): { uid?: number; gid?: number } {
  return process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
}
