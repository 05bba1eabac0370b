// How a served server ends: by its own close(), with its client, and when the parent drains.

import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { fetchOnce, requestText } from '../helpers/http.js'
import { forkFixture, listen, serve, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

test('a closed server can be served again at once by another client', async (t) => {
  const server = startServer(t)
  const [port, other] = [await listen(server), await listen(server)]
  for (const next of [other, port]) {
    const { pool, reports } = forkFixture(server, 'serve-again', { args: [String(port), String(next)] })
    t.like(await reports.next('again'), { listening: true })
    t.is(await ask(next), 'served')
    await pool.resize(0)
  }
})

test('a closing client takes no connections from a later client of the same port', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const { reports } = forkFixture(server, 'close-and-connect-again', { args: [String(port)] })
  const held = call(t, port)
  await reports.next('connected')
  for (let index = 0; index < 20; index++) t.is(await ask(port), 'second')
  t.is(server.stats().requeued, 0)
  held.disconnect()
  await reports.next('closed')
})

test('server.close() ends idle connections, waits for the others, then calls back', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'serve-http')
  const idle = call(t, port).send(requestText('/'))
  await idle.receives('"pid"')
  const busy = call(t, port).send(requestText('/slow', { Connection: 'close' }))
  await until(() => reports.count('request') === 2)
  pool.workers[0]?.process.send('close')
  await idle.answer()
  t.is(reports.count('closed'), 0)
  pool.workers[0]?.process.send('answer')
  t.true((await busy.answer()).endsWith('slow'))
  t.is((await reports.next('closed'))['error'], undefined)
  t.like(await reports.next('close'), { now: false })
  // The worker has disconnected, so a new connection waits for another worker.
  await reports.next('client closed')
  const late = fetchOnce(port)
  await until(() => server.stats().queued === 1)
  const other = forkFixture(server, 'serve-http')
  t.is(JSON.parse((await late).body).pid, other.pool.workers[0]?.pid)
})

test('a second close() of a server calls back with ERR_SERVER_NOT_RUNNING', async (t) => {
  const { pool, reports, port } = await serve(t, 'serve-http')
  const busy = call(t, port).send(requestText('/slow', { Connection: 'close' }))
  await reports.next('request')
  for (const command of ['close', 'close', 'answer']) pool.workers[0]?.process.send(command)
  await busy.answer()
  const errors = [(await reports.next('closed'))['error'], (await reports.next('closed'))['error']]
  t.deepEqual(errors, [undefined, 'Server is not running.'])
  t.is(reports.count('close'), 1)
})

test('client.close() finishes pending answers and closes the served server', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'serve-http')
  const busy = call(t, port).send(requestText('/slow'))
  await reports.next('request')
  pool.workers[0]?.process.send('leave')
  pool.workers[0]?.process.send('answer')
  const text = await busy.answer()
  t.regex(text, /\r\nConnection: close\r\n/)
  t.true(text.endsWith('slow'))
  t.like(await reports.next('left'), { listening: false })
  t.like(await reports.next('close'), { now: false })
  await until(() => server.stats().workers === 0)
  // The IPC channel keeps the process alive.
  await until(() => pool.workers[0]?.state === 'draining')
})

test('a drain answers with Connection: close and cuts no request in flight', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'serve-http')
  const idle = call(t, port).send(requestText('/'))
  await idle.receives('"pid"')
  const busy = call(t, port).send(requestText('/slow'))
  await until(() => reports.count('request') === 2)
  const drained = server.drain()
  await reports.next('client drains')
  // This connection was idle when the drain began, and its client has not been notified of the drain.
  idle.send(requestText('/slow'))
  await until(() => reports.count('request') === 3)
  pool.workers[0]?.process.send('answer')
  t.regex(await busy.answer(), /\r\nConnection: close\r\n.*slow$/s)
  t.regex(await idle.answer(), /"pid".*\r\nConnection: close\r\n.*slow$/s)
  t.deepEqual(await drained, { complete: true, queued: 0, leases: 0 })
})

test('a drain closes idle connections, and the workers of a closed server exit', async (t) => {
  const { server, pool, port } = await serve(t, 'serve-http')
  const idle = call(t, port).send(requestText('/'))
  await idle.receives('"pid"')
  const [worker] = pool.workers
  t.like(await server.drain({ timeout: 30_000 }), { complete: true })
  t.is(await idle.answer(), idle.received)
  await server.close()
  t.is(worker?.process.exitCode, 0)
})

test('a retired worker answers its connections and exits', async (t) => {
  const { pool, reports, port } = await serve(t, 'serve-http')
  const busy = call(t, port).send(requestText('/slow'))
  await reports.next('request')
  const [worker] = pool.workers
  const retired = pool.resize(0)
  t.is(worker?.state, 'draining')
  worker?.process.send('answer')
  t.true((await busy.answer()).endsWith('slow'))
  await retired
  t.is(worker?.process.exitCode, 0)
})
