import { invalidValue } from '../errors.js'
import { integer, optionsObject, port, signal, socketName } from '../validate.js'

export interface ConnectOptions {
  /** Serve the listener of this local port only, 1 to 65535. Default 0: every listener. */
  port?: number | undefined
  /**
   * Join the server that shares this path, or on Linux this abstract name (it begins with a null byte). Default: the server that
   * started this process.
   */
  path?: string | undefined
  /**
   * With `path`: how to go on when no server is there, or not any more. The pause before the next try is `minDelay` milliseconds
   * (default 100), doubled with each try that fails, at most `maxDelay` (default 10000), each less up to a half by chance.
   * `false`: not at all; then the client closes as one does whose parent has died.
   */
  reconnect?: boolean | ReconnectOptions | undefined
}

export interface ReconnectOptions {
  minDelay?: number | undefined
  maxDelay?: number | undefined
}

/** {@link ConnectOptions}, checked. */
export interface ConnectSettings {
  /** 0 is any. */
  port: number
  path: string | undefined
  /** Undefined: no second try. */
  reconnect: { minDelay: number; maxDelay: number } | undefined
}

export interface AcceptOptions {
  /** Aborting it withdraws the call, which rejects with an AbortError. */
  signal?: AbortSignal | undefined
}

export interface ServeOptions {
  /** Sets `client.concurrency`, 1 to 4294967295 or Infinity. Default: leaves it as it is. */
  concurrency?: number | undefined
}

export function parseConnectOptions(options: string | ConnectOptions): ConnectSettings {
  const given: ConnectOptions = typeof options === 'string' ? { path: options } : options
  optionsObject('options', given)
  const name = (option: string): string => (typeof options === 'string' ? option : `options.${option}`)
  return {
    port: given.port === undefined ? 0 : port('options.port', given.port),
    path: given.path === undefined ? undefined : socketName(name('path'), given.path),
    reconnect: parseReconnect(given.reconnect, given.path),
  }
}

function parseReconnect(reconnect: unknown, path: unknown): ConnectSettings['reconnect'] {
  if (reconnect === undefined || reconnect === true) return DEFAULT_RECONNECT
  if (path === undefined) throw invalidValue('options.reconnect', reconnect, 'is for a path')
  if (reconnect === false) return undefined
  const given = optionsObject('options.reconnect', reconnect)
  const minDelay = integer(
    'options.reconnect.minDelay',
    Reflect.get(given, 'minDelay') ?? DEFAULT_RECONNECT.minDelay,
    1,
    LONGEST_TIMER,
  )
  const fallback = Math.max(minDelay, DEFAULT_RECONNECT.maxDelay)
  const maxDelay = Reflect.get(given, 'maxDelay') ?? fallback
  return { minDelay, maxDelay: integer('options.reconnect.maxDelay', maxDelay, minDelay, LONGEST_TIMER) }
}

const DEFAULT_RECONNECT = { minDelay: 100, maxDelay: 10_000 }

/** Node's timers fire at once beyond this. */
const LONGEST_TIMER = 2 ** 31 - 1

/** The signal. */
export function parseAcceptOptions(options: AcceptOptions): AbortSignal | undefined {
  optionsObject('options', options)
  return signal('options.signal', options.signal)
}

/** The concurrency. */
export function parseServeOptions(options: ServeOptions): number | undefined {
  optionsObject('options', options)
  return options.concurrency === undefined ? undefined : concurrency('options.concurrency', options.concurrency)
}

/** A number of leases. */
export function concurrency(name: string, value: unknown): number {
  return value === Number.POSITIVE_INFINITY ? value : integer(name, value, 1, 2 ** 32 - 1)
}
