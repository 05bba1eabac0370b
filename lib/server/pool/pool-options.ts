import { availableParallelism } from 'node:os'
import { boolean, integer, milliseconds, oneOf, optionsObject } from '../../validate.js'
import type { ReadyWhen } from '../../worker-settings.js'
import { DEFAULT_RESTART, type RestartOptions, type RestartSettings } from './restart-policy.js'

/** Options that `fork()` and `threads()` share. Times are in milliseconds, at most 2147483647. */
export interface PoolOptions {
  /** The number of workers, 0 to 65535. Default: `os.availableParallelism()`. */
  workers?: number | undefined
  /** Whether, or how, a worker that exits unasked is replaced. Default true. */
  restart?: boolean | RestartOptions | undefined
  /** When a worker is ready: when it has connected or, with `manual`, when it calls `client.ready()`. Default `connected`. */
  ready?: 'connected' | 'manual' | undefined
  /** How long a worker has to become ready. Then it is terminated, which counts as an exit. 0 means no limit. Default 30000. */
  readyTimeout?: number | undefined
  /**
   * How long a worker that was retired, or that has closed its client itself, has to finish its leases. Then its sockets are ended
   * and SIGTERM follows, after `killTimeout` SIGKILL. 0 means no limit. Default 30000.
   */
  drainTimeout?: number | undefined
  /**
   * How long a worker without leases has to exit, including its own SIGTERM handler, and how long it has after SIGTERM before
   * SIGKILL. Default: `killTimeout` of the server.
   */
  killTimeout?: number | undefined
  /** Replaces a worker that has taken this many connections, less up to 10 % jitter, checked once a second. Default: no limit. */
  maxConnections?: number | undefined
  /** Replaces a worker that has been ready for this long, less up to 10 % jitter. Default: no limit. */
  maxLifetime?: number | undefined
  /** Emits `stall` once for a worker whose event loop has not turned for this long. Default 0: never. */
  stallTimeout?: number | undefined
  /** Whether a stalled worker is replaced, too. Default false. */
  replaceStalled?: boolean | undefined
}

/** Validated {@link PoolOptions}. */
export interface PoolSettings {
  /** Undefined: workers are not replaced. */
  restart: RestartSettings | undefined
  isReadyManual: boolean
  /** The condition that makes a worker of `run()` ready; empty for other workers. */
  readyWhen: ReadyWhen | ''
  readyTimeout: number
  drainTimeout: number
  killTimeout: number
  maxConnections: number
  maxLifetime: number
  /** Bytes. */
  maxMemory: number
  stallTimeout: number
  replaceStalled: boolean
}

/** The other options: those of `child_process.fork()`, or of `Worker`. */
export type WithoutPoolOptions<T> = Omit<T, keyof PoolOptions | 'maxMemory'>

/**
 * Validates the pool options and separates them from the others. `known` has the names of the others, and `refused` the messages
 * for options that are not supported.
 */
export function parsePoolOptions<T extends PoolOptions & { maxMemory?: number | undefined }>(
  options: T,
  serverKillTimeout: number,
  { known, refused }: { known: readonly string[]; refused?: Readonly<Record<string, string>> },
): { workers: number; settings: PoolSettings; rest: WithoutPoolOptions<T> } {
  optionsObject('options', options, [...POOL_OPTIONS, ...known], refused)
  const {
    workers = availableParallelism(),
    restart,
    ready,
    readyTimeout,
    drainTimeout,
    killTimeout,
    maxConnections = Number.POSITIVE_INFINITY,
    maxLifetime = Number.POSITIVE_INFINITY,
    maxMemory = Number.POSITIVE_INFINITY,
    stallTimeout,
    replaceStalled,
    ...rest
  } = options
  return {
    workers: poolSize('options.workers', workers),
    settings: {
      restart: parseRestart(restart),
      isReadyManual: oneOf('options.ready', ready, ['connected', 'manual'], 'connected') === 'manual',
      readyWhen: '',
      readyTimeout: milliseconds('options.readyTimeout', readyTimeout, 30_000),
      drainTimeout: milliseconds('options.drainTimeout', drainTimeout, 30_000),
      killTimeout: milliseconds('options.killTimeout', killTimeout, serverKillTimeout),
      maxConnections: limit('options.maxConnections', maxConnections, Number.MAX_SAFE_INTEGER),
      maxLifetime: limit('options.maxLifetime', maxLifetime, LONGEST_TIMER),
      maxMemory: limit('options.maxMemory', maxMemory, Number.MAX_SAFE_INTEGER),
      stallTimeout: milliseconds('options.stallTimeout', stallTimeout, 0),
      replaceStalled: boolean('options.replaceStalled', replaceStalled, false),
    },
    rest,
  }
}

/** Validates a number of workers. 0 is allowed: then connections wait in the queue. */
export function poolSize(name: string, value: unknown): number {
  return integer(name, value, 0, MAX_WORKERS)
}

function parseRestart(restart: unknown): RestartSettings | undefined {
  if (restart === undefined || restart === true) return DEFAULT_RESTART
  if (restart === false) return undefined
  const given = optionsObject('options.restart', restart, ['minDelay', 'maxDelay', 'minUptime', 'crashLoop'])
  const value = (key: keyof RestartSettings): unknown => Reflect.get(given, key)
  const minDelay = milliseconds('options.restart.minDelay', value('minDelay'), DEFAULT_RESTART.minDelay)
  const maxDelay = Math.max(minDelay, DEFAULT_RESTART.maxDelay)
  return {
    minDelay,
    maxDelay:
      value('maxDelay') === undefined
        ? maxDelay
        : integer('options.restart.maxDelay', value('maxDelay'), minDelay, LONGEST_TIMER),
    minUptime: milliseconds('options.restart.minUptime', value('minUptime'), DEFAULT_RESTART.minUptime),
    crashLoop:
      value('crashLoop') === undefined
        ? DEFAULT_RESTART.crashLoop
        : integer('options.restart.crashLoop', value('crashLoop'), 1, 2 ** 31 - 1),
  }
}

/** Validates an upper limit, at least 1; Infinity means no limit. */
function limit(name: string, value: unknown, max: number): number {
  return value === Number.POSITIVE_INFINITY ? value : integer(name, value, 1, max)
}

const POOL_OPTIONS = [
  'workers',
  'restart',
  'ready',
  'readyTimeout',
  'drainTimeout',
  'killTimeout',
  'maxConnections',
  'maxLifetime',
  'maxMemory',
  'stallTimeout',
  'replaceStalled',
]

/** A larger number is a mistake: the default pid_max of Linux is 32768. */
const MAX_WORKERS = 65_535

/** A longer timer of Node fires at once. */
const LONGEST_TIMER = 2 ** 31 - 1
