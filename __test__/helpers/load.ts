import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'

/** The report of socketserver-load; see crates/load/README.md. */
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
  /** Microseconds since 1970. */
  started_unix_us: number
}

/** A test, or anything else that runs teardown functions. */
export type Teardown = Pick<ExecutionContext, 'teardown'>

/** A run of the load generator against a port, killed at the end of the test. */
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
    // A test that has failed no longer awaits the report, which must not become an unhandled rejection.
    this.report.catch(() => {})
  }
}

/** Runs the load generator in closed mode and returns its report. */
export function load(t: ExecutionContext, port: number, options: Record<string, string | number>): Promise<LoadReport> {
  return new Load(t, port, options).report
}

/** Repeats a run without pause until `isOver` and returns all reports. */
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

/** Asserts that each connection was answered exactly once. */
export function assertClean(t: ExecutionContext, report: LoadReport): void {
  t.true(report.clean, JSON.stringify({ ...report.outcomes, twice: report.answered_twice, failures: report.failures }))
}

const ROOT = join(__dirname, '..', '..', '..')
const LOAD = join(ROOT, 'target', 'release', 'socketserver-load')

/** Whether the load generator exists. It is built if it is missing, unless Rust is not installed. */
export const hasLoad = existsSync(LOAD) || build()

function build(): boolean {
  try {
    execFileSync('cargo', ['build', '--release', '--package', 'socketserver-load'], { cwd: ROOT, stdio: 'inherit' })
    return true
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    console.warn('cargo is not installed, so socketserver-load is missing: tests under load are skipped.')
    return false
  }
}
