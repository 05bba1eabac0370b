import { invalidType, invalidValue } from '../../errors.js'
import { integer, milliseconds, optionsObject, port, socketName, string, strings } from '../../validate.js'

/** The address of `server.admin()` or `server.agent()`. */
export interface AdminAddress {
  /** The TCP port, 0 to 65535; 0 lets the system choose. */
  port?: number | undefined
  /** The address. Default `127.0.0.1`. */
  host?: string | undefined
  /** The path of a Unix socket, instead of a port. */
  path?: string | undefined
  /** The permissions of the Unix socket. Default 0o600. */
  mode?: number | undefined
}

/** Options of `server.agent()`. */
export interface AgentOptions extends AdminAddress {
  /**
   * How many connections each worker takes at a time: the `concurrency` of the clients in the workers. The answer then has
   * `maxconn:`, this number times the workers that take connections. Default: no limit.
   */
  concurrency?: number | undefined
}

/** Options of `server.admin()`. */
export interface AdminOptions extends AdminAddress {
  /**
   * Names that a `Host` header may have, besides `localhost`, IP addresses and `host`. `'*'` allows every name. Then any web
   * page that an operator visits can read the status by DNS rebinding. Default: none.
   */
  hosts?: readonly string[] | undefined
  /** The number of ready workers that `/readyz` needs. Default 1. */
  minReady?: number | undefined
  /** The share of `maxQueue`, above 0 and at most 1, at which `/readyz` fails. Default 0.9. */
  maxQueueShare?: number | undefined
  /** `/livez` fails when the parent's event loop has been blocked for this many milliseconds. Default 10000. */
  livenessTimeout?: number | undefined
}

/** Validated {@link AdminOptions}. */
export interface AdminSettings {
  target: { host: string; port: number } | { path: string }
  mode: number
  hosts: string[]
  minReady: number
  maxQueueShare: number
  livenessTimeout: number
  /** The concurrency of each worker; undefined without a limit. */
  concurrency: number | undefined
}

/** Validates the options of `server.admin()` and adds the defaults. */
export function parseAdminOptions(options: AdminOptions): AdminSettings {
  optionsObject('options', options, [...ADDRESS, 'hosts', 'minReady', 'maxQueueShare', 'livenessTimeout'])
  const { hosts, minReady = 1, maxQueueShare = 0.9, livenessTimeout } = options
  const { target, mode } = parseAddress(options)
  // A Unix socket allows every name, because a browser cannot reach a Unix socket.
  const named = 'host' in target ? [target.host] : ['*']
  return {
    target,
    mode,
    hosts: [...named, ...strings('options.hosts', hosts)],
    minReady: integer('options.minReady', minReady, 0, 2 ** 32 - 1),
    maxQueueShare: share('options.maxQueueShare', maxQueueShare),
    livenessTimeout: milliseconds('options.livenessTimeout', livenessTimeout, 10_000),
    concurrency: undefined,
  }
}

/** Validates the options of `server.agent()` and adds the defaults. */
export function parseAgentOptions(options: AgentOptions): AdminSettings {
  optionsObject('options', options, [...ADDRESS, 'concurrency'])
  const { concurrency = Number.POSITIVE_INFINITY } = options
  const isLimited = concurrency !== Number.POSITIVE_INFINITY
  return {
    ...parseAddress(options),
    hosts: [],
    minReady: 0,
    maxQueueShare: 1,
    livenessTimeout: 0,
    concurrency: isLimited ? integer('options.concurrency', concurrency, 1, 2 ** 32 - 1) : undefined,
  }
}

function parseAddress(options: AdminAddress): Pick<AdminSettings, 'target' | 'mode'> {
  const mode = integer('options.mode', options.mode ?? 0o600, 0, 0o777)
  if (options.path !== undefined) {
    if (options.port !== undefined) throw invalidValue('options.path', options.path, 'cannot be used with a port')
    return { target: { path: socketName('options.path', options.path) }, mode }
  }
  if (options.port === undefined) throw invalidType('options.port', 'of type number', options.port)
  const host = options.host === undefined ? '127.0.0.1' : string('options.host', options.host)
  if (host === '') throw invalidValue('options.host', host, 'must not be empty')
  return { target: { host, port: port('options.port', options.port) }, mode }
}

function share(name: string, value: unknown): number {
  if (typeof value !== 'number') throw invalidType(name, 'of type number', value)
  if (!(value > 0 && value <= 1)) throw invalidValue(name, value, 'must be above 0 and at most 1')
  return value
}

const ADDRESS = ['port', 'host', 'path', 'mode']
