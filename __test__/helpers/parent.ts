import type { ServerStats } from '@socketserver/node'
import type { ExecutionContext } from 'ava'
import { type Program, type ProgramOptions, run } from './program.js'
import { until } from './until.js'

/** A parent in its own process, the fixture `parent-of-fixture`, with workers of another fixture, all connected. */
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

  /** The messages of the `error` events of its server. */
  get errors(): string[] {
    return this.#printed('error').map(String)
  }

  /** Sends `go` to the workers. */
  go(): void {
    process.kill(this.pid, 'SIGUSR1')
  }

  /** Returns the current stats of the server. */
  async stats(): Promise<ServerStats> {
    const before = this.#printed('stats').length
    process.kill(this.pid, 'SIGUSR2')
    await until(() => this.#printed('stats').length > before)
    return JSON.parse(JSON.stringify(this.#printed('stats').at(-1)))
  }

  #printed(key: string): unknown[] {
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

/** Root is exempt from many limits: as root a program runs as the user nobody. */
export function ordinaryUser(): { uid?: number; gid?: number } {
  return process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
}
