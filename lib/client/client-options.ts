import { integer, optionsObject, port, signal } from '../validate.js'

export interface ConnectOptions {
  /** Serve the listener of this local port only, 1 to 65535. Default 0: every listener. */
  port?: number | undefined
}

export interface AcceptOptions {
  /** Aborting it withdraws the call, which rejects with an AbortError. */
  signal?: AbortSignal | undefined
}

export interface ServeOptions {
  /** Sets `client.concurrency`, 1 to 4294967295 or Infinity. Default: leaves it as it is. */
  concurrency?: number | undefined
}

/** The port. */
export function parseConnectOptions(options: ConnectOptions): number {
  optionsObject('options', options)
  return options.port === undefined ? 0 : port('options.port', options.port)
}

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
