// Converts PM2's ecosystem file. docs/from-pm2.md lists the fields and their equivalents.

import { availableParallelism } from 'node:os'
import { basename, dirname } from 'node:path'
import { usageError } from '../command-error.js'
import { anchored } from './anchored.js'
import type { ConfigKey, GivenSettings } from './given.js'
import { integerOf, shown, stringOf } from './values.js'

export interface EcosystemChoice {
  /** The name of the app to run, if the file has several. */
  only: string | undefined
  /** The name of the environment: its `env_NAME` is added to `env`. */
  env: string | undefined
  /** Called with one sentence about the fields that have no effect. */
  note: (sentence: string) => void
}

/** Converts one app of PM2's ecosystem file. One message lists the fields without an equivalent. */
export function readEcosystem(file: string, apps: unknown, { only, env, note }: EcosystemChoice): GivenSettings {
  const app = chooseApp(file, apps, only)
  const field = (name: string): string => `'${name}' in ${basename(file)}`
  const given: GivenSettings = {}
  const unused: string[] = []
  for (const [key, value] of Object.entries(app)) {
    if (value === undefined || value === null) continue
    const [option, convert = unchanged] = Object.hasOwn(FIELDS, key) ? (FIELDS[key] ?? []) : []
    if (option !== undefined) {
      const converted = convert(value, field(key))
      if (converted !== undefined) given[option] = { name: field(key), value: converted }
    } else if (!IGNORED.includes(key) && !key.startsWith('env_')) unused.push(key)
  }
  requireNode(Reflect.get(app, 'interpreter'), file)
  given.env = { name: 'env', value: { ...object(app, 'env'), ...(env === undefined ? {} : profile(file, app, env)) } }
  given.restart = { name: 'restart', value: restartOf(app, field) }
  const drainTimeout = Math.max(Number(given.killTimeout?.value ?? 0), DEFAULT_DRAIN)
  if (given.killTimeout !== undefined) given.drainTimeout = { name: given.killTimeout.name, value: drainTimeout }
  const nodeArgs = ['interpreter_args', 'node_args'].flatMap((name) => words(Reflect.get(app, name) ?? []))
  if (Reflect.get(app, 'source_map_support') === true) nodeArgs.push('--enable-source-maps')
  if (nodeArgs.length > 0) given.nodeArg = { name: field('node_args'), value: nodeArgs }
  if (unused.length > 0) note(`${basename(file)}: these fields have no effect: ${unused.join(', ')} (docs/from-pm2.md)`)
  return anchored(given, dirname(file))
}

function chooseApp(file: string, apps: unknown, only: string | undefined): object {
  const list = (Array.isArray(apps) ? apps : [apps])
    .filter((app): app is object => typeof app === 'object' && app !== null)
    .map(withoutAliases)
  const names = list.map((app) => String(Reflect.get(app, 'name') ?? Reflect.get(app, 'script')))
  const [first] = list
  if (first === undefined) throw usageError(`the config file ${file} has no apps`)
  if (only === undefined) {
    if (list.length === 1) return first
    throw usageError(
      `${file} has ${list.length} apps: ${names.join(', ')}. One parent runs one app: --only ${names[0]}`,
    )
  }
  const chosen = list[names.indexOf(only)]
  if (chosen === undefined) throw usageError(`${file} has no app '${only}', only ${names.join(', ')}`)
  return chosen
}

/** Returns the app with the field names of PM2's documentation instead of their aliases. */
function withoutAliases(app: object): object {
  return Object.fromEntries(Object.entries(app).map(([key, value]) => [ALIASES[key] ?? key, value]))
}

function profile(file: string, app: object, env: string): object {
  if (Reflect.has(app, `env_${env}`)) return object(app, `env_${env}`)
  throw usageError(`the app in ${file} has no env_${env}, which --env ${env} asks for`)
}

function object(app: object, key: string): object {
  const value: unknown = Reflect.get(app, key) ?? {}
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw usageError(`'${key}' must be an object, not ${shown(value)}`)
}

/** Throws for an interpreter other than Node. PM2 would start such an interpreter in fork mode. */
function requireNode(interpreter: unknown, file: string): void {
  if (interpreter === undefined || interpreter === 'node' || interpreter === process.execPath) return
  if (/(^|\/)node$/.test(String(interpreter))) return
  throw usageError(
    `'interpreter' in ${basename(file)} must be node, not ${shown(interpreter)}: socketserver runs Node programs`,
  )
}

function restartOf(app: object, field: (name: string) => string): unknown {
  if (Reflect.get(app, 'autorestart') === false) return false
  const number = (name: string, min: number): number | undefined => {
    const value: unknown = Reflect.get(app, name)
    return value === undefined ? undefined : integerOf(field(name), value, min, 2 ** 31 - 1)
  }
  return {
    minUptime: duration(field('min_uptime'), Reflect.get(app, 'min_uptime')),
    crashLoop: number('max_restarts', 1),
    minDelay: number('exp_backoff_restart_delay', 1),
  }
}

/** Returns milliseconds from a number of milliseconds, or from a number with h, m or s, as PM2 does. */
function duration(name: string, value: unknown): number | undefined {
  if (value === undefined) return undefined
  const [, digits, unit = ''] = /^(\d{1,9})([hms])$/.exec(String(value)) ?? []
  return integerOf(name, digits === undefined ? value : Number(digits) * (UNITS[unit] ?? 1), 0, 2 ** 31 - 1)
}

/** Splits a string of arguments at spaces, outside quotes, as a shell does. */
function words(value: unknown): string[] {
  if (Array.isArray(value)) return value.map(String)
  return [...String(value).matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([, double, single, bare]) => double ?? single ?? bare ?? '',
  )
}

function instances(value: unknown, name: string): unknown {
  if (value === 'max' || Number(value) === 0) return 'max'
  const number = Number(value)
  if (!Number.isInteger(number)) throw usageError(`${name} must be a whole number or max, not ${shown(value)}`)
  // -1 means one worker fewer than the number of CPUs.
  return number < 0 ? Math.max(1, availableParallelism() + number) : number
}

function watch(value: unknown): unknown {
  return value === false ? undefined : value
}

function unchanged(value: unknown): unknown {
  return value
}

type Conversion = readonly [option: ConfigKey, convert?: (value: unknown, name: string) => unknown]

/** The fields that become an option, each with its conversion. */
const FIELDS: Readonly<Record<string, Conversion>> = {
  script: ['app'],
  args: ['args', words],
  name: ['name', (value, name) => stringOf(name, value).replace(/[^A-Za-z0-9._-]+/g, '-')],
  cwd: ['cwd'],
  instances: ['workers', instances],
  port: ['port'],
  watch: ['watch', watch],
  ignore_watch: ['ignoreWatch'],
  max_memory_restart: ['maxMemory'],
  kill_timeout: ['killTimeout', (value, name) => integerOf(name, value, 0, 2 ** 31 - 1)],
  listen_timeout: ['readyTimeout'],
  wait_ready: ['ready', (value) => (value === true ? 'message' : undefined)],
  pid_file: ['pidFile'],
  env_file: ['envFile'],
}

/** The aliases of fields, from PM2's lib/API/schema.json. */
const ALIASES: Readonly<Record<string, string>> = {
  exec: 'script',
  exec_interpreter: 'interpreter',
  interpreterArgs: 'interpreter_args',
  pid: 'pid_file',
}

/** Milliseconds. */
const UNITS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000 }

/** The fields that other functions read, and the fields that need no equivalent. */
const IGNORED = [
  'autorestart',
  'env',
  'exec_mode',
  'exp_backoff_restart_delay',
  'interpreter',
  'interpreter_args',
  'max_restarts',
  'min_uptime',
  'node_args',
  'source_map_support',
  'vizion',
]

/** The default of `drainTimeout`. PM2's `kill_timeout` applies to open requests and to the app's own handlers. */
const DEFAULT_DRAIN = 30_000
