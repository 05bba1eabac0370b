// Settings before validation.

/** A value with its name in its source: `--workers`, `WEB_CONCURRENCY`, or a key of a config file. */
export interface Given {
  name: string
  value: unknown
}

/** The keys of a config file. Options of the command have the same names and meanings. */
export const CONFIG_KEYS = [
  'app',
  'args',
  'workers',
  'port',
  'bind',
  'threads',
  'ready',
  'readyTimeout',
  'drainTimeout',
  'killTimeout',
  'drainDelay',
  'restart',
  'keepTrying',
  'maxMemory',
  'maxConnections',
  'maxQueue',
  'queueTimeout',
  'policy',
  'sticky',
  'proxyProtocol',
  'maxPerSource',
  'admin',
  'watch',
  'ignoreWatch',
  'env',
  'envFile',
  'cwd',
  'nodeArg',
  'logPrefix',
  'pidFile',
  'name',
  'control',
] as const

export type ConfigKey = (typeof CONFIG_KEYS)[number]

/** Settings from one source. */
export type GivenSettings = Partial<Record<ConfigKey, Given>>
