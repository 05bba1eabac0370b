import { availableParallelism } from 'node:os'
import { boolean, integer, milliseconds, oneOf, optionsObject } from '../../validate.js'
import { DEFAULT_RESTART, type RestartOptions, type RestartSettings } from './restart-policy.js'

/** What `fork()` and `threads()` have in common. Times are in milliseconds. */
export interface PoolOptions {
  /** Workers to start, 0 to 65535. Default: as many as the machine runs at once, `os.availableParallelism()`. */
  workers?: number | undefined
  /** Whether, or how, a worker that exits uninvited is replaced. Default true. */
  restart?: boolean | RestartOptions | undefined
  /** When a worker counts as ready: when it has connected, or, `manual`, when it calls `client.ready()`. Default `connected`. */
  ready?: 'connected' | 'manual' | undefined
  /** How long a worker may take to become ready; then it is ended, and counts as one that exited. 0 is for ever. Default 30000. */
  readyTimeout?: number | undefined
  /**
   * How long a worker that is to leave, or has closed its client itself, may take to finish what it holds. Then its sockets are
   * ended, SIGTERM follows and, after `killTimeout`, SIGKILL. 0 is for ever. Default 30000.
   */
  drainTimeout?: number | undefined
  /**
   * How long a worker whose connections are over may take to exit, its own SIGTERM handler included, and how long after SIGTERM.
   * Default: the server's.
   */
  killTimeout?: number | undefined
  /** A worker that has handled so many connections is replaced by a fresh one; looked at once a second. Default: never. */
  maxConnections?: number | undefined
  /** A worker that is so old is replaced by a fresh one; up to a tenth earlier, by chance. Default: never. */
  maxLifetime?: number | undefined
  /**
   * A worker whose event loop has not turned for so long is told of by the server's `stall` event, once a stall.
   * Default: nobody looks.
   */
  stallTimeout?: number | undefined
  /** Whether a stalled worker is replaced as well. Default false. */
  replaceStalled?: boolean | undefined
}

/** The same, checked and with defaults. */
export interface PoolSettings {
  /** Undefined: workers are not replaced. */
  restart: RestartSettings | undefined
  isReadyManual: boolean
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

/** What pool options are not one of: the options of `child_process.fork()`, or of a thread. */
export type WithoutPoolOptions<T> = Omit<T, keyof PoolOptions | 'maxMemory'>

/** Splits pool options off. `known` are the names of the others, and `refused` has reasons for options that are not supported. */
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

/** A number of workers. None is allowed: connections wait until there are some. */
export function poolSize(name: string, value: unknown): number {
  return integer(name, value, 0, MOST_WORKERS)
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

/** An upper limit, at least 1; Infinity is none. */
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

// More are a mistake, not a wish: Linux's default pid_max is 32768.
const MOST_WORKERS = 65_535

/** Node's timers fire at once beyond this. */
const LONGEST_TIMER = 2 ** 31 - 1
