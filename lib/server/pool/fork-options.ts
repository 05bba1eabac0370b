import type { ForkOptions as ChildProcessForkOptions } from 'node:child_process'
import { statSync } from 'node:fs'
import { AbortError, invalidType, invalidValue } from '../../errors.js'
import { boolean, signal, strings } from '../../validate.js'
import { type PoolOptions, type PoolSettings, parsePoolOptions } from './pool-options.js'
import { resolveEntry } from './resolve-entry.js'

/** Options of `server.fork()`: those of `child_process.fork()`, and those of a pool. */
export interface ForkOptions extends Omit<ChildProcessForkOptions, 'timeout'>, PoolOptions {
  /** Arguments for the worker: its `process.argv.slice(2)`. Default: none. */
  args?: readonly string[] | undefined
  /** Replaces a worker whose resident memory exceeds this many bytes, checked once a second. Default: no limit. */
  maxMemory?: number | undefined
  /**
   * Whether every start of a worker that inherits standard error is observed through a pipe until the worker has connected, so that
   * the error of a failed start has its last lines. Otherwise starts are observed after a failed one. Default false.
   */
  observeStderr?: boolean | undefined
}

/** The parameters for starting one worker process. */
export interface ForkPlan {
  /** An absolute path; the file existed when the path was resolved. */
  entry: string
  args: string[]
  observeStderr: boolean
  options: Omit<ChildProcessForkOptions, 'signal' | 'timeout'>
  /** The number of the app, if the entry does not know this package. */
  app?: number | undefined
}

/** Validates the arguments of `fork()` and adds the defaults. */
export function parseForkOptions(
  entry: string | URL,
  forkOptions: ForkOptions,
  killTimeout: number,
): { plan: ForkPlan; workers: number; settings: PoolSettings; signal: AbortSignal | undefined } {
  const { workers, settings, rest } = parsePoolOptions(forkOptions, killTimeout, {
    known: FORK_OPTIONS,
    refused: REFUSED,
  })
  const { args, observeStderr, signal: given, ...options } = rest
  const abort = signal('options.signal', given)
  if (abort?.aborted) throw new AbortError(abort.reason)
  requireDirectory(options.cwd)
  return {
    signal: abort,
    workers,
    settings,
    plan: {
      entry: resolveEntry(entry, options.cwd),
      args: strings('options.args', args),
      observeStderr: boolean('options.observeStderr', observeStderr, false),
      options,
    },
  }
}

/** Throws ERR_INVALID_ARG_VALUE unless `cwd` is a directory: spawn(2) would report that the executable does not exist. */
export function requireDirectory(cwd: string | URL | undefined): void {
  if (cwd === undefined) return
  if (typeof cwd !== 'string' && !(cwd instanceof URL)) {
    throw invalidType('options.cwd', 'of type string or an instance of URL', cwd)
  }
  if (statSync(cwd, { throwIfNoEntry: false })?.isDirectory() === true) return
  throw invalidValue('options.cwd', cwd, 'must be an existing directory')
}

const FORK_OPTIONS = [
  'args',
  'cwd',
  'detached',
  'env',
  'execArgv',
  'execPath',
  'gid',
  'killSignal',
  'observeStderr',
  'serialization',
  'signal',
  'silent',
  'stdio',
  'uid',
  'windowsVerbatimArguments',
]

const REFUSED = {
  timeout: 'is not supported: the pool would restart each worker that it kills; use maxLifetime',
}
