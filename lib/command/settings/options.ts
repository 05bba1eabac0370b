// The options of `socketserver run`. A key is the name in a config file; its flag is the same name with hyphens.

/** `flag`: no value. `value`: one value. `values`: repeatable, one value each. `optional`: an inline value or none. */
type Takes = 'flag' | 'value' | 'values' | 'optional'

export interface OptionSpec {
  takes: Takes
  short?: string
  /** Whether a value may begin with a hyphen. */
  acceptsHyphen?: boolean
}

export const RUN_OPTIONS = {
  workers: { takes: 'value', short: 'w' },
  port: { takes: 'value', short: 'p' },
  bind: { takes: 'values' },
  threads: { takes: 'flag' },
  ready: { takes: 'value' },
  readyTimeout: { takes: 'value' },
  drainTimeout: { takes: 'value' },
  killTimeout: { takes: 'value' },
  drainDelay: { takes: 'value' },
  keepTrying: { takes: 'flag' },
  maxMemory: { takes: 'value' },
  maxConnections: { takes: 'value' },
  maxQueue: { takes: 'value' },
  queueTimeout: { takes: 'value' },
  policy: { takes: 'value' },
  sticky: { takes: 'value' },
  proxyProtocol: { takes: 'value' },
  maxPerSource: { takes: 'value' },
  admin: { takes: 'value' },
  watch: { takes: 'optional' },
  envFile: { takes: 'values' },
  cwd: { takes: 'value' },
  nodeArg: { takes: 'values', acceptsHyphen: true },
  logPrefix: { takes: 'flag' },
  noLogPrefix: { takes: 'flag' },
  pidFile: { takes: 'value' },
  name: { takes: 'value' },
  control: { takes: 'value' },
  env: { takes: 'value' },
  only: { takes: 'value' },
} as const satisfies Record<string, OptionSpec>

export type RunOption = keyof typeof RUN_OPTIONS

/** Returns the flag of an option: `ready-timeout` for `readyTimeout`. */
export function flagOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}
