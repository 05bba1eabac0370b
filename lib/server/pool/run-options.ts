import { join } from 'node:path'
import { invalidType, invalidValue } from '../../errors.js'
import { boolean, oneOf, port } from '../../validate.js'
import { READY_WHEN, type ReadyWhen } from '../../worker-settings.js'
import { parseRouting, type RoutingOptions, type RoutingSettings } from '../listen/routing-options.js'
import { type ForkOptions, type ForkPlan, parseForkOptions } from './fork-options.js'
import type { PoolSettings } from './pool-options.js'
import type { ThreadPlan } from './thread-options.js'

/** The options of `fork()`, for an app that does not know this package. */
export interface RunOptions extends Omit<ForkOptions, 'ready'>, RoutingOptions {
  /**
   * When a worker counts as ready, before which it is given no connections: when it listens (`listen`), when it calls
   * `process.send('ready')` or, in a thread, posts `ready` to its parent (`message`), or at once (`start`). Default `listen`.
   */
  ready?: ReadyWhen | undefined
  /** The app's environment variable `PORT`, 0 to 65535. Default: as in `env`. */
  port?: number | undefined
  /** Whether the app runs in threads of this process instead of processes. Default false. */
  threads?: boolean | undefined
}

/** The parameters for starting one worker. */
export type RunPlan = ({ kind: 'processes' } & ForkPlan) | ({ kind: 'threads' } & ThreadPlan)

export function parseRunOptions(
  entry: string | URL,
  runOptions: RunOptions,
  killTimeout: number,
): {
  plan: RunPlan
  workers: number
  settings: PoolSettings
  signal: AbortSignal | undefined
  routing: RoutingSettings | undefined
} {
  if (typeof runOptions !== 'object' || runOptions === null) throw invalidType('options', 'of type object', runOptions)
  const { ready, port: givenPort, threads, maxPerSource, proxyProtocol, sticky, ...forkOptions } = runOptions
  const routing = parseRouting({ maxPerSource, proxyProtocol, sticky }, (key) => `options.${key}`)
  const readyWhen = oneOf('options.ready', ready, READY_WHEN, 'listen')
  const isThreaded = boolean('options.threads', threads, false)
  if (isThreaded) refuseProcessOptions(forkOptions)
  const env = withPort(forkOptions.env ?? process.env, givenPort)
  const { plan, settings, ...rest } = parseForkOptions(entry, { detached: true, ...forkOptions, env }, killTimeout)
  const common = { settings: { ...settings, isReadyManual: true, readyWhen }, routing, ...rest }
  const execArgv = ['--require', PRELOAD, ...(plan.options.execArgv ?? process.execArgv)]
  if (isThreaded) {
    const isPiped = plan.options.silent === true
    const options = { argv: plan.args, execArgv, stdout: isPiped, stderr: isPiped }
    return { plan: { kind: 'threads', entry: plan.entry, env, options }, ...common }
  }
  const output = plan.options.silent === true ? 'pipe' : 'inherit'
  // No worker may read what is typed for all.
  const { stdio = ['ignore', output, output, 'ipc'] } = plan.options
  return { plan: { kind: 'processes', ...plan, options: { ...plan.options, execArgv, stdio } }, ...common }
}

function refuseProcessOptions(options: ForkOptions): void {
  for (const name of PROCESS_OPTIONS) {
    const value: unknown = Reflect.get(options, name)
    if (value !== undefined) throw invalidValue(`options.${name}`, value, 'is for processes, not for threads')
  }
}

const PROCESS_OPTIONS = [
  'cwd',
  'detached',
  'execPath',
  'gid',
  'killSignal',
  'maxMemory',
  'observeStderr',
  'serialization',
  'stdio',
  'uid',
  'windowsVerbatimArguments',
]

function withPort(env: NodeJS.ProcessEnv, given: unknown): NodeJS.ProcessEnv {
  return given === undefined ? env : { ...env, PORT: String(port('options.port', given)) }
}

/** Required by every worker before its entry. Absolute: Node resolves a name from the working directory. */
const PRELOAD = join(__dirname, '..', '..', 'run', 'preload.js')
