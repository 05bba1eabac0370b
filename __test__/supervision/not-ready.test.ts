// The error of a worker that does not become ready names the missing call.

import { mkdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ForkOptions } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { linuxTest } from '../helpers/conditional-test.js'
import { fixture } from '../helpers/fixture.js'
import { forkFixture, serve, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'

async function lateMessage(t: ExecutionContext, name: string, options: ForkOptions = {}): Promise<string> {
  const server = startServer(t)
  const { pool } = forkFixture(server, name, { restart: false, readyTimeout: 1500, silent: true, ...options })
  const error = await t.throwsAsync(pool.ready, { code: 'ERR_SOCKETSERVER_READY_TIMEOUT' })
  return error?.message ?? ''
}

test('the error of a worker that never calls connect() names the call', async (t) => {
  t.regex(await lateMessage(t, 'never-connect'), /was not ready within 1500 ms: it has not called connect\(\)$/)
})

test('the error of a worker that never calls client.ready() names the call', async (t) => {
  const message = await lateMessage(t, 'ready-on-command', { ready: 'manual' })
  t.regex(message, /was not ready within 1500 ms: it has not called connect\(\) and client\.ready\(\)$/)
})

test('the error of a thread that never calls connect() names the call', async (t) => {
  const server = startServer(t)
  const pool = server.threads(fixture('never-connect'), { workers: 1, restart: false, readyTimeout: 1500 })
  await t.throwsAsync(pool.ready, { message: /was not ready within 1500 ms: it has not called connect\(\)$/ })
})

linuxTest('the error of a worker that listens by itself names the address, and suggests a solution', async (t) => {
  const path = join(temporaryDirectory(t), 'own')
  const advice =
    /and has not called connect\(\): replace server\.listen\(\) by connect\(\)\.serve\(server\)\. Its last lines:\nlistening$/
  // On a busy machine the worker needs longer than a second to listen.
  const message = async (args: string[]): Promise<string> => {
    for (let readyTimeout = 1000; ; readyTimeout *= 3) {
      rmSync(path, { force: true })
      const text = await lateMessage(t, 'listen-by-itself', { readyTimeout, args })
      if (advice.test(text) || readyTimeout > 20_000) return text
    }
  }
  const messages = [await message([]), await message([path])]
  t.regex(messages[0] ?? '', /: it listens itself, on port \d+, /)
  t.true(messages[1]?.includes(`: it listens itself, on ${path}, `), messages[1])
  for (const message of messages) t.regex(message, advice)
})

test('serve() of a server that listens by itself throws at once, for every form of listen()', async (t) => {
  const { reports } = await serve(t, 'serve-listening-servers', { args: [temporaryDirectory(t)] })
  await reports.next('done')
  const tried = reports.all.filter(({ event }) => event !== 'done')
  t.is(tried.length, 9)
  for (const { event, code } of tried)
    t.is(code, event.startsWith('after') ? 'none' : 'ERR_SERVER_ALREADY_LISTEN', event)
})

test('a cwd that is not a directory is an error, both at fork() and at a restart', async (t) => {
  const folder = temporaryDirectory(t)
  const missing = join(folder, 'missing')
  const file = join(folder, 'file')
  writeFileSync(file, '')
  const server = startServer(t)
  for (const cwd of [missing, file]) {
    const error = t.throws(() => server.fork(fixture('describe-connection'), { workers: 1, cwd }), {
      instanceOf: TypeError,
    })
    t.like(error, { code: 'ERR_INVALID_ARG_VALUE' })
    t.is(error?.message, `The "options.cwd" property must be an existing directory. Received '${cwd}'`)
  }
  mkdirSync(missing)
  const { pool } = forkFixture(server, 'describe-connection', { cwd: missing, restart: { minDelay: 1, minUptime: 0 } })
  await pool.ready
  rmdirSync(missing)
  const emitted = new Promise<Error>((resolve) => server.once('error', resolve))
  pool.workers[0]?.process.kill('SIGKILL')
  t.true((await emitted).message.includes(missing))
})
