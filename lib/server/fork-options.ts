import type { ForkOptions as ChildProcessForkOptions } from 'node:child_process'
import { strings } from '../validate.js'
import { type PoolOptions, type PoolSettings, parsePoolOptions } from './pool-options.js'
import { resolveEntry } from './resolve-entry.js'

/** `child_process.fork()`'s options, and those of a pool. */
export interface ForkOptions extends ChildProcessForkOptions, PoolOptions {
  /** Arguments for the worker, its `process.argv.slice(2)`. Default none. */
  args?: readonly string[] | undefined
  /** A worker whose resident memory exceeds so many bytes is replaced by a fresh one; looked at once a second. Default: never. */
  maxMemory?: number | undefined
}

/** What starting one worker process takes. */
export interface ForkPlan {
  /** An absolute path that was there when it was resolved. */
  entry: string
  args: string[]
  options: ChildProcessForkOptions
}

export function parseForkOptions(
  entry: string | URL,
  forkOptions: ForkOptions,
  killTimeout: number,
): { plan: ForkPlan; workers: number; settings: PoolSettings } {
  const { workers, settings, rest } = parsePoolOptions(forkOptions, killTimeout)
  const { args, ...options } = rest
  return {
    workers,
    settings,
    plan: { entry: resolveEntry(entry, options.cwd), args: strings('options.args', args), options },
  }
}
