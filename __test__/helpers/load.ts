import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'

/** What socketserver-load reports; see crates/load/README.md. */
export interface LoadReport {
  clean: boolean
  total: number
  outcomes: Record<'ok' | 'refused' | 'reset' | 'empty' | 'wrong' | 'doubled' | 'timeout' | 'dropped', number>
  answered_twice: number
  workers: Record<string, number>
  elapsed_seconds: number
  connections_per_second: number
  latency_us: { p50: number; p99: number; max: number }
  failures: string[]
  /** By the wall clock. */
  started_unix_us: number
}

/** A test, or whatever else cleans up at its end. */
export type Teardown = Pick<ExecutionContext, 'teardown'>

/** A run of the load generator against a port, ended with the test. */
export class Load {
  readonly report: Promise<LoadReport>

  constructor(t: Teardown, port: number, options: Record<string, string | number>, mode = 'closed') {
    const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
    const target = ['--target', `127.0.0.1:${port}`]
    const child = spawn(LOAD, [mode, ...target, ...flags, '--json', '--allow-errors'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    this.report = once(child, 'close').then(() => {
      const report: LoadReport = JSON.parse(output)
      return report
    })
    // One that nobody waits for any more, as its test has failed, is no failure of its own.
    this.report.catch(() => {})
  }
}

/** Connects, asks and reads to the end, `clients` at a time, and gives the report. */
export function load(t: ExecutionContext, port: number, options: Record<string, string | number>): Promise<LoadReport> {
  return new Load(t, port, options).report
}

/** The same again and again until `isOver`, without pause. */
export async function loadUntil(
  t: ExecutionContext,
  port: number,
  options: Record<string, string | number>,
  mode: string,
  isOver: () => boolean,
): Promise<LoadReport[]> {
  const reports: LoadReport[] = []
  while (!isOver()) reports.push(await new Load(t, port, options, mode).report)
  return reports
}

/** All connections were answered once, by whoever was asked; the report says otherwise. */
export function assertClean(t: ExecutionContext, report: LoadReport): void {
  t.true(report.clean, JSON.stringify({ ...report.outcomes, twice: report.answered_twice, failures: report.failures }))
}

const ROOT = join(__dirname, '..', '..', '..')
const LOAD = join(ROOT, 'target', 'release', 'socketserver-load')

/** Whether there is a load generator, which is built if need be. Without Rust there is none. */
export const hasLoad = existsSync(LOAD) || build()

function build(): boolean {
  try {
    execFileSync('cargo', ['build', '--release', '--package', 'socketserver-load'], { cwd: ROOT, stdio: 'inherit' })
    return true
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    console.warn('There is no cargo, so there is no socketserver-load: tests under load are skipped.')
    return false
  }
}
