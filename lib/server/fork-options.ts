import type { ForkOptions as ChildProcessForkOptions } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { integer, optionsObject, strings } from '../validate.js'
import { resolveEntry } from './resolve-entry.js'

/** `child_process.fork()`'s options, and how many. */
export interface ForkOptions extends ChildProcessForkOptions {
  /** Workers to start, 0 to 65535. Default: as many as the machine runs at once, `os.availableParallelism()`. */
  workers?: number | undefined
  /** Arguments for the worker, its `process.argv.slice(2)`. Default none. */
  args?: readonly string[] | undefined
}

/** What starting one worker takes. */
export interface ForkPlan {
  /** An absolute path that was there when it was resolved. */
  entry: string
  args: string[]
  options: ChildProcessForkOptions
}

export function parseForkOptions(entry: string | URL, forkOptions: ForkOptions): { plan: ForkPlan; workers: number } {
  optionsObject('options', forkOptions)
  const { workers, args, ...options } = forkOptions
  return {
    workers: poolSize('options.workers', workers ?? availableParallelism()),
    plan: { entry: resolveEntry(entry, options.cwd), args: strings('options.args', args), options },
  }
}

/** A number of workers. None is allowed: connections wait until there are some. */
export function poolSize(name: string, value: unknown): number {
  return integer(name, value, 0, MOST_WORKERS)
}

// More are a mistake, not a wish: Linux's default pid_max is 32768.
const MOST_WORKERS = 65_535
