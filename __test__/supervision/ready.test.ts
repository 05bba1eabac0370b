import { SocketServerError } from '@socketserver/node'
import test from 'ava'
import { ask } from '../helpers/caller.js'
import { fixture } from '../helpers/fixture.js'
import { isRunning } from '../helpers/processes.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

test('with ready: manual, a worker is ready and gets connections only after client.ready()', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const { pool, reports } = forkFixture(server, 'ready-on-command', { ready: 'manual' })
  await reports.next('connected')
  const answer = ask(port, 'early\n')
  await until(() => server.stats().queued === 1)
  const [worker] = pool.workers
  t.is(worker?.state, 'starting')
  t.is(server.stats().workers, 0)
  worker?.process.send('ready')
  await pool.ready
  t.is(worker?.state, 'ready')
  t.regex(await answer, /early/)
})

test('a worker that closes its client before it is ready is replaced', async (t) => {
  const server = startServer(t)
  server.on('error', () => {})
  await listen(server)
  const { pool, reports } = forkFixture(server, 'ready-on-command', { ready: 'manual' })
  await reports.next('connected')
  pool.workers[0]?.process.send('close')
  pool.workers[0]?.process.disconnect()
  await t.throwsAsync(pool.ready, { code: 'ERR_SOCKETSERVER_WORKER_EXITED' })
  await reports.next('connected')
  t.is(pool.workers[0]?.restarts, 1)
})

test('a worker that is not ready in time is ended, reported and replaced', async (t) => {
  const server = startServer(t)
  const errors: Error[] = []
  server.on('error', (error) => errors.push(error))
  await listen(server)
  const options = { workers: 1, ready: 'manual', readyTimeout: 300, restart: { minDelay: 1 } } as const
  const pool = server.fork(fixture('ready-on-command'), options)
  const pid = pool.workers[0]?.pid ?? 0
  const error = await t.throwsAsync(pool.ready, { instanceOf: SocketServerError })
  t.like(error, { code: 'ERR_SOCKETSERVER_READY_TIMEOUT', pid })
  await until(() => !isRunning(pid))
  await until(() => pool.workers.some(({ restarts }) => restarts === 1))
  await until(() => errors.length > 0)
  t.like(errors[0], { code: 'ERR_SOCKETSERVER_READY_TIMEOUT' })
})

test('client.ready() has no effect without ready: manual', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const { pool } = forkFixture(server, 'ready-on-command')
  await pool.ready
  pool.workers[0]?.process.send('ready')
  t.regex(await ask(port, 'token\n'), /token/)
})
