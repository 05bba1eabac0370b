import { SHARE_ENV, type WorkerOptions } from 'node:worker_threads'
import { invalidValue } from '../../errors.js'
import { type PoolOptions, type PoolSettings, parsePoolOptions } from './pool-options.js'
import { resolveEntry } from './resolve-entry.js'

/**
 * Options of `server.threads()`: those of `Worker` of `worker_threads`, and those of a pool. `eval` is not supported, and neither
 * is `transferList`, because a value can be transferred only once and a pool restarts threads. `env` must not be SHARE_ENV,
 * because each thread has its own channel there.
 */
export interface ThreadOptions extends Omit<WorkerOptions, 'eval' | 'transferList'>, PoolOptions {}

/** The parameters for starting one worker thread. */
export interface ThreadPlan {
  /** An absolute path; the file existed when the path was resolved. */
  entry: string
  env: NodeJS.ProcessEnv
  options: Omit<WorkerOptions, 'eval' | 'transferList' | 'env'>
  /** The number of the app, if the entry does not know this package. */
  app?: number | undefined
}

/** Validates the arguments of `threads()` and adds the defaults. */
export function parseThreadOptions(
  entry: string | URL,
  threadOptions: ThreadOptions,
  killTimeout: number,
): { plan: ThreadPlan; workers: number; settings: PoolSettings } {
  const { workers, settings, rest } = parsePoolOptions(threadOptions, killTimeout, { known: THREAD_OPTIONS })
  const { env, ...options } = rest
  if (env === SHARE_ENV) throw invalidValue('options.env', env, 'must not be SHARE_ENV')
  if (Reflect.get(options, 'eval') === true) throw invalidValue('options.eval', true)
  const transferList: unknown = Reflect.get(options, 'transferList')
  if (transferList !== undefined) throw invalidValue('options.transferList', transferList)
  if (Number.isFinite(settings.maxMemory)) {
    // Threads share one process, and so one resident memory.
    throw invalidValue(
      'options.maxMemory',
      settings.maxMemory,
      'is only allowed with processes: use resourceLimits for threads',
    )
  }
  return { workers, settings, plan: { entry: resolveEntry(entry), env: env ?? process.env, options } }
}

/** The options of `Worker` of `worker_threads`. `eval` and `transferList` have their own errors. */
const THREAD_OPTIONS = [
  'argv',
  'env',
  'eval',
  'execArgv',
  'name',
  'resourceLimits',
  'stderr',
  'stdin',
  'stdout',
  'trackUnmanagedFds',
  'transferList',
  'workerData',
]
