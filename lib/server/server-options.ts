import { boolean, integer, milliseconds, oneOf, optionsObject } from '../validate.js'

/** Options of `createServer()`. */
export interface ServerOptions {
  /** The most accepted connections that may wait for a worker, 1 to 4294967295. A full queue pauses accepting. Default 1024. */
  maxQueue?: number | undefined
  /** Milliseconds that a connection may wait before it is reset and counted as shed, 0 to 4294967295. Default 0: no limit. */
  queueTimeout?: number | undefined
  /**
   * Which of the workers that have asked gets the next connection. Default `least-busy`.
   *
   * - `least-busy`: the worker that holds fewest connections. Among equals the worker that was given a connection last, for
   *   10 ms, because its caches are warm; then each in turn. A worker that stalled recently counts as holding two more.
   * - `round-robin`: each worker in turn, however many connections it holds.
   * - `first`: the worker that was started first, while it asks. Few workers are used and the others sleep. This policy fills
   *   a worker before the next, so set `concurrency` in the workers.
   */
  policy?: PolicyName | undefined
  /**
   * Milliseconds that a retired worker process has to exit after its channel has ended or its drain has timed out. Then SIGTERM
   * follows, and SIGKILL after the same time again. Default 5000.
   */
  killTimeout?: number | undefined
  /**
   * Milliseconds that `close()`, also on a signal, waits for the queue and the leases, unless the call has a `timeout`. Then the
   * server ends the remaining connections, for example endless responses. Default 7000, less than the 10 s of `docker stop`.
   */
  closeTimeout?: number | undefined
  /**
   * Whether SIGINT and SIGTERM close this server and end the process: the first signal drains and closes, the second ends
   * everything at once. Workers leave both signals to this process. Default false: the program handles signals itself.
   */
  signals?: boolean | SignalOptions | undefined
}

/** Options of `signals`. */
export interface SignalOptions {
  /**
   * Milliseconds for which the server continues to accept after the first signal, while `/readyz` fails and `agent()` reports `drain`:
   * a balancer sends new clients until it has noticed. Default 0.
   */
  drainDelay?: number | undefined
}

/** Options of `server.metrics()`. */
export interface MetricsOptions {
  /** `text`: Prometheus' format 0.0.4. `openmetrics`: OpenMetrics 1.0. Default `text`. */
  format?: 'text' | 'openmetrics' | undefined
}

/** Options of `server.drain()`. */
export interface DrainOptions {
  /** Milliseconds to wait for the queue and the leases. No connection is cut when the time is up. Default 10000. */
  timeout?: number | undefined
}

/** Options of `server.close()`. */
export interface CloseOptions {
  /** Milliseconds to wait for the queue and the leases before the rest is ended. Default: `closeTimeout` of the server. */
  timeout?: number | undefined
}

/** Validated {@link ServerOptions}. */
export interface ServerSettings {
  maxQueue: number
  queueTimeoutMs: number
  policy: PolicyName
  killTimeout: number
  closeTimeout: number
  signals: boolean
  drainDelay: number
}

/** Validates the options of `createServer()` and adds the defaults. */
export function parseServerOptions(options: ServerOptions): ServerSettings {
  optionsObject('options', options, ['maxQueue', 'queueTimeout', 'policy', 'killTimeout', 'closeTimeout', 'signals'])
  const { maxQueue = 1024, queueTimeout = 0, policy, killTimeout, closeTimeout, signals } = options
  return {
    maxQueue: integer('options.maxQueue', maxQueue, 1, LARGEST_U32),
    queueTimeoutMs: integer('options.queueTimeout', queueTimeout, 0, LARGEST_U32),
    policy: oneOf('options.policy', policy, POLICIES, 'least-busy'),
    killTimeout: milliseconds('options.killTimeout', killTimeout, 5000),
    closeTimeout: milliseconds('options.closeTimeout', closeTimeout, 7000),
    ...parseSignals(signals),
  }
}

function parseSignals(signals: ServerOptions['signals']): Pick<ServerSettings, 'signals' | 'drainDelay'> {
  if (typeof signals !== 'object') return { signals: boolean('options.signals', signals, false), drainDelay: 0 }
  optionsObject('options.signals', signals, ['drainDelay'])
  return { signals: true, drainDelay: milliseconds('options.signals.drainDelay', signals.drainDelay, 0) }
}

/** Returns the timeout in milliseconds. */
export function parseDrainOptions(options: DrainOptions | CloseOptions, defaultTimeout = 10_000): number {
  optionsObject('options', options, ['timeout'])
  return milliseconds('options.timeout', options.timeout, defaultTimeout)
}

/** Names a policy: how the dispatcher picks the worker for the next connection. */
export type PolicyName = 'least-busy' | 'round-robin' | 'first'

const POLICIES: readonly PolicyName[] = ['least-busy', 'round-robin', 'first']
const LARGEST_U32 = 2 ** 32 - 1
