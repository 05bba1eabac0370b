import { pipeline } from 'node:stream/promises'
import { findApp } from './control/find-app.js'
import { APP_OPTIONS, only } from './orders.js'
import { parseFlags } from './settings/parse-flags.js'

/** `socketserver logs`: prints the last lines of an app's output, and with `-f` every later one until the app ends. */
export async function logs(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseFlags(args, { follow: { takes: 'flag', short: 'f' }, ...APP_OPTIONS })
  const [name] = only(positionals, 1, 'logs [name] [-f]')
  const app = await findApp(name, values.get('control')?.[0], 'logs')
  const stream = await app.open('GET', values.has('follow') ? '/logs?follow' : '/logs')
  await pipeline(stream, process.stdout, { end: false })
}
