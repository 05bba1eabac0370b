// The commands that control a running app: status, reload, scale and stop.

import { CommandError, EXIT, usageError } from './command-error.js'
import type { ControlClient } from './control/control-client.js'
import type { Changed, Status, Stopped } from './control/control-protocol.js'
import { findApp, runningApps } from './control/find-app.js'
import { plural } from './report.js'
import type { OptionSpec } from './settings/options.js'
import { parseFlags } from './settings/parse-flags.js'
import { appsTable, statusTable } from './status-table.js'

/** `socketserver status`: prints a table, or JSON. */
export async function status(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseFlags(args, { json: { takes: 'flag' }, ...APP_OPTIONS })
  const [name] = only(positionals, 1, 'status [name]')
  const control = values.get('control')?.[0]
  if (name === undefined && control === undefined && !values.has('json')) {
    const apps = await runningApps()
    if (apps.length > 1) {
      const all = await Promise.all(apps.map((app) => app.ask<Status>('GET', '/status')))
      return print(appsTable(all, new Date()))
    }
  }
  const app = await findApp(name, control, 'status')
  const answer = await app.ask<Status>('GET', '/status')
  print(values.has('json') ? JSON.stringify(answer, null, 2) : statusTable(answer, new Date()))
}

/** `socketserver reload`: returns when the old workers have exited. */
export async function reload(args: readonly string[]): Promise<void> {
  const app = await appOf(args, 'reload')
  const { workers, generation } = await app.ask<Changed>('POST', '/reload')
  print(`${app.name}: reloaded ${plural(workers, 'worker')}, generation ${generation}`)
}

/** `socketserver scale`: returns when the new workers are ready, or the surplus workers have exited. */
export async function scale(args: readonly string[]): Promise<void> {
  // Without this, parseArgs would treat -1 as an option.
  const index = args.findIndex((arg) => /^[+-]?\d+$/.test(arg))
  const [target] = args.slice(index)
  if (index === -1 || target === undefined) {
    const other = args.find((arg) => !arg.startsWith('--'))
    const wrong = other === undefined ? '' : `'${other}' is not a number of workers. `
    throw usageError(`how many? ${wrong}Type: socketserver scale 4, scale +1 or scale -1`)
  }
  const app = await appOf(args.toSpliced(index, 1), 'scale', `scale ${target}`)
  const { workers } = await app.ask<Changed>('POST', `/scale?workers=${encodeURIComponent(target)}`)
  print(`${app.name}: ${plural(workers, 'worker')}`)
}

/** `socketserver stop`: returns when the app has ended. */
export async function stop(args: readonly string[]): Promise<void> {
  const app = await appOf(args, 'stop')
  const { cut } = await app.ask<Stopped>('POST', '/stop')
  if (cut > 0)
    throw new CommandError(`${app.name}: stopped, and ${plural(cut, 'connection')} did not finish in time`, EXIT.failed)
  print(`${app.name}: stopped`)
}

/** Returns the app that the arguments of a command name. */
export async function appOf(args: readonly string[], command: string, typed = command): Promise<ControlClient> {
  const { values, positionals } = parseFlags(args, APP_OPTIONS)
  const [name] = only(positionals, 1, `${command} [name]`)
  return await findApp(name, values.get('control')?.[0], typed)
}

export function only(positionals: readonly string[], max: number, usage: string): readonly string[] {
  if (positionals.length <= max) return positionals
  throw usageError(`one name is enough: socketserver ${usage}`)
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

export const APP_OPTIONS = { control: { takes: 'value' } } as const satisfies Record<string, OptionSpec>
