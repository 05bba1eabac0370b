import { boolean, integer, milliseconds, oneOf, optionsObject } from '../validate.js'

export interface ServerOptions {
  /** Accepted connections that may wait for a worker, 1 to 4294967295; when full, accepting pauses. Default 1024. */
  maxQueue?: number | undefined
  /** Milliseconds a connection may wait before it is reset and counted as shed; 0 is for ever. Default 0. */
  queueTimeout?: number | undefined
  /**
   * Which of the workers that ask gets the next connection. `least-busy`, the default: the one that holds fewest, among
   * several the one that was given one last, as long as that is less than 10 ms ago and its caches are warm, and then each in
   * turn; one that has been stuck lately counts as holding two more. `round-robin`: each in turn, however many it holds.
   * `first`: the one that was started first, as long as it asks, so that few workers are used and the others sleep. It fills
   * that one, so give workers a `concurrency`.
   */
  policy?: PolicyName | undefined
  /**
   * Milliseconds that the process of a worker may take to exit once it has been told to and its channel is over, or the
   * drain has timed out. Then it gets SIGTERM, and after as long again SIGKILL. Default 5000.
   */
  killTimeout?: number | undefined
  /**
   * Milliseconds that `close()`, also by a signal, waits for the queue and the leases, unless the call says otherwise; what is left
   * then is ended, such as responses that never end. Default 7000, which is less than the 10 s of `docker stop`.
   */
  closeTimeout?: number | undefined
  /**
   * Whether SIGINT and SIGTERM close this server and end the process: the first drains and closes, the second ends at once.
   * Workers leave both to this process. Default false: signals are the program's own business.
   */
  signals?: boolean | undefined
}

export interface DrainOptions {
  /** Milliseconds to wait for the queue and the leases. Nothing is cut when they are over. Default 10000. */
  timeout?: number | undefined
}

export interface CloseOptions {
  /** Milliseconds to wait for the queue and the leases; what is left then is ended. Default: the server's `closeTimeout`. */
  timeout?: number | undefined
}

export interface ServerSettings {
  maxQueue: number
  queueTimeoutMs: number
  policy: PolicyName
  killTimeout: number
  closeTimeout: number
  signals: boolean
}

export function parseServerOptions(options: ServerOptions): ServerSettings {
  optionsObject('options', options, ['maxQueue', 'queueTimeout', 'policy', 'killTimeout', 'closeTimeout', 'signals'])
  const { maxQueue = 1024, queueTimeout = 0, policy, killTimeout, closeTimeout, signals } = options
  return {
    maxQueue: integer('options.maxQueue', maxQueue, 1, LARGEST_U32),
    queueTimeoutMs: integer('options.queueTimeout', queueTimeout, 0, LARGEST_U32),
    policy: oneOf('options.policy', policy, POLICIES, 'least-busy'),
    killTimeout: milliseconds('options.killTimeout', killTimeout, 5000),
    closeTimeout: milliseconds('options.closeTimeout', closeTimeout, 7000),
    signals: boolean('options.signals', signals, false),
  }
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
