// fork() has the options of child_process.fork(), with the same meaning.

import { realpathSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import type { ForkOptions } from '@socketserver/node'
import test from 'ava'
import { ask } from '../helpers/caller.js'
import { fixture } from '../helpers/fixture.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { within } from '../helpers/within.js'

test('workers get the given arguments, Node options and environment', async (t) => {
  const server = startServer(t)
  const { reports } = forkFixture(server, 'report-environment', {
    args: ['first', '--second=2', ''],
    execArgv: ['--no-deprecation'],
    env: { PATH: process.env['PATH'], COLOUR: 'green' },
    silent: true,
  })
  const { args, execArgv, env } = await reports.next('started')
  t.deepEqual(args, ['first', '--second=2', ''])
  t.deepEqual(execArgv, ['--no-deprecation'])
  t.like(env, { COLOUR: 'green' })
  t.is(Object(env).HOME, undefined)
})

test("workers inherit the parent's environment, but no other worker's channel", async (t) => {
  process.env['SOCKETSERVER_TEST'] = 'inherited'
  t.teardown(() => delete process.env['SOCKETSERVER_TEST'])
  const server = startServer(t)
  const { pool, reports } = forkFixture(server, 'report-environment', { workers: 2, silent: true })
  await pool.ready
  for (let i = 0; i < 2; i++) t.like((await reports.next('started'))['env'], { SOCKETSERVER_TEST: 'inherited' })
  t.is(process.env['SOCKETSERVER_CHANNEL'], undefined)
})

test('workers run in cwd, and their entry is resolved there', async (t) => {
  const directory = realpathSync(temporaryDirectory(t))
  writeFileSync(join(directory, 'worker.js'), `require(${JSON.stringify(fixture('report-environment'))})`)
  const server = startServer(t)
  for (const entry of ['./worker.js', './worker', 'worker.js']) {
    const pool = server.fork(entry, { workers: 1, cwd: directory, silent: true })
    const message = new Promise<object>((resolve) => {
      for (const worker of pool.workers) worker.process.once('message', (message) => resolve(Object(message)))
    })
    const started = await within(message, entry)
    t.like(started, { cwd: directory })
    t.is(basename(Object(started).entry), basename(entry))
    await pool.close()
  }
})

test('an entry can be a path or a file URL', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  for (const entry of [
    fixture('describe-connection'),
    pathToFileURL(fixture('describe-connection')),
    pathToFileURL(fixture('describe-connection')).href,
  ]) {
    const pool = server.fork(entry, { workers: 1, args: [String(port)] })
    await pool.ready
    t.is(JSON.parse(await ask(port)).pid, pool.workers[0]?.pid)
    await pool.close()
  }
})

test('silent and stdio have the same meaning as in child_process', async (t) => {
  const server = startServer(t)
  const cases: readonly ForkOptions[] = [
    { silent: true },
    { stdio: 'pipe' },
    { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] },
    { stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'] },
  ]
  for (const options of cases) {
    const { pool } = forkFixture(server, 'report-environment', options)
    const output = pool.workers[0]?.process.stdout
    const said = output ? text(output) : Promise.resolve('no output')
    await pool.ready
    await pool.close()
    t.is(await within(said, 'the end of the output'), 'said by a worker\n', JSON.stringify(options))
  }
})

test('a listener for IPC messages does not keep a retired worker alive', async (t) => {
  const server = startServer(t, { killTimeout: 60_000 })
  const { pool, reports } = forkFixture(server, 'accept-on-command')
  await reports.next('connected')
  const [worker] = pool.workers
  await within(pool.close(), 'the exit of a worker that listens to messages')
  t.is(worker?.process.exitCode, 0)
})

test('a pool has as many workers as available CPUs by default', async (t) => {
  const { availableParallelism } = await import('node:os')
  const server = startServer(t)
  const pool = server.fork(fixture('describe-connection'))
  t.is(pool.size, availableParallelism())
  await pool.ready
  t.is(pool.workers.length, availableParallelism())
})
