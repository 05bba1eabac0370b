import { existsSync } from 'node:fs'
import { basename, extname, resolve } from 'node:path'
import type { ListenOptions } from '../../server/listen/listen-target.js'
import type { RoutingOptions } from '../../server/listen/routing-options.js'
import type { AdminOptions } from '../../server/observe/admin-options.js'
import type { RestartOptions } from '../../server/pool/restart-policy.js'
import type { PolicyName } from '../../server/server-options.js'
import { usageError } from '../command-error.js'
import { adminAddress, bindAddress } from './bind-address.js'
import { findConfigFile, isConfigFile, readConfigFile } from './config-file.js'
import { type EnvironmentSources, environmentOf, variablesOf } from './environment.js'
import type { ConfigKey, Given, GivenSettings } from './given.js'
import { flagOf, RUN_OPTIONS, type RunOption } from './options.js'
import { parseFlags } from './parse-flags.js'
import { proxyProtocolOf, stickyOf } from './routing.js'
import * as values from './values.js'

/** The checked settings of `socketserver run`. */
export interface RunSettings {
  /** The path of the app as given, relative to `cwd`. */
  app: string
  args: string[]
  name: string
  cwd: string
  workers: number
  threads: boolean
  nodeArgs: string[]
  bind: ListenOptions[]
  environment: EnvironmentSources
  ready: 'listen' | 'message' | 'start' | undefined
  readyTimeout: number | undefined
  drainTimeout: number | undefined
  killTimeout: number | undefined
  drainDelay: number | undefined
  restart: boolean | RestartOptions | undefined
  keepTrying: boolean
  maxMemory: number | undefined
  maxConnections: number | undefined
  maxQueue: number | undefined
  queueTimeout: number | undefined
  policy: PolicyName | undefined
  /** The routing of all listeners. */
  routing: RoutingOptions
  /** The address of the page, the metrics and the probes. Undefined if they are not served. */
  admin: AdminOptions | undefined
  /** The absolute paths to watch. Undefined if no path is watched. */
  watch: string[] | undefined
  ignoreWatch: string[]
  /** Whether each line of output begins with the worker's slot. Undefined means only in a terminal with several workers. */
  logPrefix: boolean | undefined
  pidFile: string | undefined
  control: string | undefined
}

/**
 * Reads the settings of `socketserver run`. Arguments take precedence over the config file, and the config file over
 * WEB_CONCURRENCY. Throws a usage error for mistakes.
 */
export async function readRunSettings(args: readonly string[], note: (sentence: string) => void): Promise<RunSettings> {
  const { flags, first, rest } = parseRun(args)
  const file = first === undefined ? findConfigFile('.') : isConfigFile(first) ? first : undefined
  const choice = { only: flags.get('only')?.[0], env: flags.get('env')?.[0], note }
  if (file === undefined && (choice.only !== undefined || choice.env !== undefined)) {
    throw usageError(`option --${choice.only === undefined ? 'env' : 'only'} is for PM2's ecosystem files`)
  }
  const config = file === undefined ? {} : await readConfigFile(file, choice)
  if (file === undefined) {
    if (first === undefined) throw usageError(`which app? ${mistakenApp(flags)}Type: socketserver run app.js`)
    warnOfLateOptions(first, rest, note)
  }
  const given: GivenSettings = { ...config, ...commandLine(flags) }
  if (file === undefined && first !== undefined) given.app = { name: 'the app', value: first }
  const appArgs = rest[0] === '--' ? rest.slice(1) : rest
  if (appArgs.length > 0 || given.args === undefined) given.args = { name: 'the arguments', value: appArgs }
  return check(given)
}

/** Returns a sentence about an option whose value looks like an app; an empty text if there is none. */
function mistakenApp(flags: Map<RunOption, string[]>): string {
  for (const [option, values] of flags) {
    const file = values.find((value) => /\.[cm]?[jt]sx?$/.test(value))
    if (file !== undefined) return `--${option} has the value '${file}'. `
  }
  return ''
}

/** Parses the arguments. Options may also follow a config file. Arguments for the app of a config file follow `--`. */
function parseRun(args: readonly string[]): { flags: Map<RunOption, string[]>; first?: string; rest: string[] } {
  const { values: flags, positionals } = parseFlags<RunOption>(args, RUN_OPTIONS, true)
  const [first, ...rest] = positionals
  if (first === undefined) return { flags, rest }
  if (!isConfigFile(first)) return { flags, first, rest }
  const later = parseFlags<RunOption>(rest, RUN_OPTIONS, true)
  return { flags: new Map([...flags, ...later.values]), first, rest: later.positionals }
}

function commandLine(flags: ReadonlyMap<RunOption, string[]>): GivenSettings {
  const given: GivenSettings = {}
  for (const [key, list] of flags) {
    if (key === 'env' || key === 'only') continue
    const name = `--${flagOf(key)}`
    if (key === 'noLogPrefix') given.logPrefix = { name, value: false }
    else if (key === 'watch') given.watch = { name, value: list[0] === '' ? true : list[0]?.split(',') }
    else given[key] = { name, value: RUN_OPTIONS[key].takes === 'values' ? list : list[0] }
  }
  return given
}

function check(given: GivenSettings): RunSettings {
  const read = <T>(key: ConfigKey, convert: (name: string, value: unknown) => T): T | undefined => {
    const setting = given[key]
    return setting === undefined ? undefined : convert(setting.name, setting.value)
  }
  const app = read('app', values.stringOf)
  if (app === undefined) throw usageError("the config file must have an 'app'")
  const cwd = resolve(read('cwd', values.stringOf) ?? '.')
  const bind = read('bind', (name, value) => values.stringsOf(name, value).map((item) => bindAddress(name, item))) ?? []
  const environment: EnvironmentSources = {
    envFiles: (read('envFile', values.stringsOf) ?? []).map((path) => resolve(path)),
    config: read('env', variablesOf) ?? {},
    options: portVariable(given.port),
  }
  const optionalPath = (key: ConfigKey): string | undefined => {
    const path = read(key, values.stringOf)
    return path === undefined ? undefined : resolve(path)
  }
  const threads = read('threads', values.booleanOf) ?? false
  if (threads && given.maxMemory !== undefined) {
    throw usageError(`${given.maxMemory.name} is for processes: threads share the memory of one`)
  }
  return {
    app,
    args: read('args', values.argumentsOf) ?? [],
    name: read('name', values.nameOf) ?? defaultName(app, cwd),
    cwd,
    workers: workersOf(given.workers, environment),
    threads,
    nodeArgs: read('nodeArg', values.stringsOf) ?? [],
    bind,
    environment,
    ready: read('ready', (name, value) => values.oneOf(name, value, ['listen', 'message', 'start'])),
    readyTimeout: read('readyTimeout', values.millisecondsOf),
    drainTimeout: read('drainTimeout', values.millisecondsOf),
    killTimeout: read('killTimeout', values.millisecondsOf),
    drainDelay: read('drainDelay', values.millisecondsOf),
    restart: read('restart', restartOf),
    keepTrying: read('keepTrying', values.booleanOf) ?? false,
    maxMemory: read('maxMemory', values.bytesOf),
    maxConnections: read('maxConnections', (name, value) => values.integerOf(name, value, 1, Number.MAX_SAFE_INTEGER)),
    maxQueue: read('maxQueue', (name, value) => values.integerOf(name, value, 1, 2 ** 32 - 1)),
    queueTimeout: read('queueTimeout', (name, value) => values.integerOf(name, value, 0, 2 ** 32 - 1)),
    policy: read('policy', (name, value) => values.oneOf(name, value, ['least-busy', 'round-robin', 'first'])),
    routing: {
      sticky: read('sticky', stickyOf),
      proxyProtocol: read('proxyProtocol', proxyProtocolOf),
      maxPerSource: read('maxPerSource', (name, value) => values.integerOf(name, value, 1, 2 ** 32 - 1)),
    },
    admin: read('admin', adminAddress),
    watch: read('watch', (name, value) => watchPaths(name, value, cwd)),
    ignoreWatch: (read('ignoreWatch', values.stringsOf) ?? []).map((path) => path.replace(/^\.\/|\/$/g, '')),
    logPrefix: read('logPrefix', values.booleanOf),
    pidFile: optionalPath('pidFile'),
    control: optionalPath('control'),
  }
}

function workersOf(given: Given | undefined, environment: EnvironmentSources): number {
  if (given !== undefined) return values.workersOf(given.name, given.value)
  const { WEB_CONCURRENCY } = environmentOf(environment)
  return values.workersOf(
    'WEB_CONCURRENCY',
    WEB_CONCURRENCY === undefined || WEB_CONCURRENCY === '' ? 'max' : WEB_CONCURRENCY,
  )
}

function portVariable(given: Given | undefined): Record<string, string> {
  return given === undefined ? {} : { PORT: String(values.integerOf(given.name, given.value, 0, 65_535)) }
}

function watchPaths(name: string, value: unknown, cwd: string): string[] | undefined {
  if (value === false) return undefined
  if (value === true) return [cwd]
  return values.stringsOf(name, value).map((item) => {
    const path = resolve(cwd, item)
    if (!existsSync(path)) throw usageError(`${name}: there is no ${item} in ${cwd}`)
    return path
  })
}

function restartOf(name: string, value: unknown): boolean | RestartOptions {
  if (typeof value === 'boolean') return value
  // The pool checks each field.
  if (typeof value === 'object' && value !== null) return { ...value }
  throw usageError(`${name} must be true, false or an object, not ${values.shown(value)}`)
}

/** Returns the app's file name without its extension, or the folder's name for names such as index.js. */
function defaultName(app: string, cwd: string): string {
  const path = resolve(cwd, app)
  const name = basename(path, extname(path))
  return (
    name
      .replace(/[^A-Za-z0-9._-]+/g, '-')
      .replace(/^[.-]+/, '')
      .slice(0, 64) || 'app'
  )
}

/** Warns of an option of this command after the app. As with `node`, such an option belongs to the app. */
function warnOfLateOptions(app: string, rest: readonly string[], note: (sentence: string) => void): void {
  const flags = Object.keys(RUN_OPTIONS).map((key) => `--${flagOf(key)}`)
  const late = rest[0] === '--' ? undefined : rest.find((arg) => [...flags, '-w'].includes(arg.replace(/=.*/s, '')))
  if (late !== undefined) {
    note(`${late} is an argument of ${app}, as it stands behind it: options of socketserver come before the app`)
  }
}
