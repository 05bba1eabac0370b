import { RunningApp } from './command.mjs'
import { Load } from './load.mjs'

/**
 * Runs an app by the command, reloads it under load, and stops it. Every worker must answer and no request may fail.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {import('./apps.mjs').App} app
 * @param {readonly string[]} [options] further options of `socketserver run`
 */
export async function reloadUnderLoad(t, { args, client }, options = []) {
  const app = new RunningApp([...options, ...args])
  t.teardown(() => app.end())
  const port = await app.port()
  const load = new Load(client(port))
  await load.untilAnsweredBy(2)
  await app.command('reload')
  // One worker of the new generation at least. The other may have no client yet.
  await load.untilAnsweredBy(3)
  await load.stop()
  t.deepEqual(load.failures, [], app.stderr)
  t.is((await app.listeners()).length, 1)
  await app.command('stop')
  t.is(await app.exit(), 0)
}
