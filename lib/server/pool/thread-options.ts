import { SHARE_ENV, type WorkerOptions } from 'node:worker_threads'
import { invalidValue } from '../../errors.js'
import { type PoolOptions, type PoolSettings, parsePoolOptions } from './pool-options.js'
import { resolveEntry } from './resolve-entry.js'

/**
 * The options of `worker_threads`' Worker, and those of a pool. Not `eval`, and no `transferList`: what is transferred
 * can be given to one thread only, and a pool starts another when one exits. `env` must not be SHARE_ENV, as each thread
 * finds its own channel in it.
 */
export interface ThreadOptions extends Omit<WorkerOptions, 'eval' | 'transferList'>, PoolOptions {}

/** What starting one worker thread takes. */
export interface ThreadPlan {
  /** An absolute path that was there when it was resolved. */
  entry: string
  env: NodeJS.ProcessEnv
  options: Omit<WorkerOptions, 'eval' | 'transferList' | 'env'>
}

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
    throw invalidValue('options.maxMemory', settings.maxMemory, 'is for processes; threads have resourceLimits')
  }
  return { workers, settings, plan: { entry: resolveEntry(entry), env: env ?? process.env, options } }
}

/** The options of `worker_threads`' Worker; `eval` and `transferList` have errors of their own. */
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
