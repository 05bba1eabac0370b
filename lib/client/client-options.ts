import { invalidValue } from '../errors.js'
import { integer, isPortNumber, optionsObject, port, signal, socketName } from '../validate.js'

/** Options of `connect()`. */
export interface ConnectOptions {
  /** Take connections of this local port only, 1 to 65535. Default 0: of every listener. */
  port?: number | undefined
  /**
   * Join the server that shares this path. On Linux also an abstract name, which begins with a null byte. Default: the server that
   * started this process or thread.
   */
  path?: string | undefined
  /**
   * With `path`: how to reconnect when no server answers or the channel ends. The delay before the next attempt doubles from
   * `minDelay` to `maxDelay`, each with up to 50 % jitter. `false`: the client closes instead. Default `true`.
   */
  reconnect?: boolean | ReconnectOptions | undefined
}

/** Delays between attempts to reconnect. */
export interface ReconnectOptions {
  /** Milliseconds before the second attempt. Default 100. */
  minDelay?: number | undefined
  /** The longest delay in milliseconds, at least `minDelay`. Default 10000. */
  maxDelay?: number | undefined
}

/** Validated {@link ConnectOptions}. */
export interface ConnectSettings {
  /** The local port; 0 means any. */
  port: number
  path: string | undefined
  /** Undefined: do not reconnect. */
  reconnect: { minDelay: number; maxDelay: number } | undefined
}

/** Options of `client.accept()`. */
export interface AcceptOptions {
  /** Aborting the signal cancels the call, which rejects with an AbortError. */
  signal?: AbortSignal | undefined
}

/** Options of `client.serve()`. */
export interface ServeOptions {
  /** Sets `client.concurrency`, 1 to 4294967295 or Infinity. Default: unchanged. */
  concurrency?: number | undefined
}

/** Validates the argument of `connect()` and adds the defaults. */
export function parseConnectOptions(options: string | ConnectOptions): ConnectSettings {
  if (isPortNumber(options)) {
    throw invalidValue(
      'options',
      options,
      `is a port: use connect({ port: ${Number(options)} }), or './${options}' for a path`,
    )
  }
  const given: ConnectOptions = typeof options === 'string' ? { path: options } : options
  optionsObject('options', given, ['port', 'path', 'reconnect'], {
    concurrency: "is an option of serve(), or the property 'concurrency' of the client",
  })
  const name = (option: string): string => (typeof options === 'string' ? option : `options.${option}`)
  return {
    port: given.port === undefined ? 0 : port('options.port', given.port),
    path: given.path === undefined ? undefined : socketName(name('path'), given.path),
    reconnect: parseReconnect(given.reconnect, given.path),
  }
}

function parseReconnect(reconnect: unknown, path: unknown): ConnectSettings['reconnect'] {
  if (reconnect === undefined || reconnect === true) return DEFAULT_RECONNECT
  if (path === undefined) throw invalidValue('options.reconnect', reconnect, 'is only allowed with a path')
  if (reconnect === false) return undefined
  const given = optionsObject('options.reconnect', reconnect, ['minDelay', 'maxDelay'])
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

/** A longer timer of Node fires at once. */
const LONGEST_TIMER = 2 ** 31 - 1

/** Validates the options of `accept()`, and returns the signal. */
export function parseAcceptOptions(options: AcceptOptions): AbortSignal | undefined {
  optionsObject('options', options, ['signal'])
  return signal('options.signal', options.signal)
}

/** Validates the options of `serve()`, and returns the concurrency. */
export function parseServeOptions(options: ServeOptions): number | undefined {
  optionsObject('options', options, ['concurrency'])
  return options.concurrency === undefined ? undefined : concurrency('options.concurrency', options.concurrency)
}

/** Validates a concurrency: 1 to 4294967295, or Infinity. */
export function concurrency(name: string, value: unknown): number {
  return value === Number.POSITIVE_INFINITY ? value : integer(name, value, 1, 2 ** 32 - 1)
}
