// close() and destroy().

import { once } from 'node:events'
import { createServer, type ShedInfo } from '@socketserver/node'
import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { fixture } from '../helpers/fixture.js'
import { listen, serve, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

test('close() drains, waits until the workers have exited, and emits close once', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'one-at-a-time', { workers: 2 })
  const held = call(t, port)
  await reports.next('connection')
  const workers = pool.workers
  let closes = 0
  server.on('close', () => {
    closes += 1
  })
  const closed = server.close()
  t.is(server.close(), closed)
  held.send('words')
  t.regex(await held.answer(), /words$/)
  await within(closed, 'close()')
  t.deepEqual(
    workers.map(({ state, process }) => [state, process.exitCode]),
    [
      ['exited', 0],
      ['exited', 0],
    ],
  )
  t.is(closes, 1)
  t.like(server.stats(), { workers: 0, leases: 0, queued: 0 })
})

test('close() kills a worker that does not finish in time', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'one-at-a-time', { server: { killTimeout: 50 } })
  const held = call(t, port)
  await reports.next('connection')
  const [worker] = pool.workers
  await within(server.close({ timeout: 50 }), 'close()')
  t.is(worker?.state, 'exited')
  t.is(await held.answer().catch(({ code }) => (code === 'ECONNRESET' ? '' : code)), '')
})

test('destroy() ends queued and leased connections and kills the workers at once', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'one-at-a-time')
  const held = call(t, port)
  await reports.next('connection')
  const waiting = call(t, port)
  await until(() => server.stats().queued === 1)
  const [worker] = pool.workers
  const closed = once(server, 'close')
  server.destroy()
  server.destroy()
  await within(closed, 'the close event')
  t.is(worker?.process.signalCode, 'SIGKILL')
  for (const caller of [held, waiting]) {
    t.is(await caller.answer().catch(({ code }) => (code === 'ECONNRESET' ? '' : code)), '')
  }
  await t.throwsAsync(ask(port), { code: 'ECONNREFUSED' })
})

test('destroy() resets, counts and reports queued connections', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const callers = [call(t, port), call(t, port), call(t, port)]
  await until(() => server.stats().queued === 3)
  const emitted: ShedInfo[] = []
  server.on('shed', (info) => emitted.push(info))
  server.destroy()
  for (const caller of callers) await t.throwsAsync(caller.answer(), { code: 'ECONNRESET' })
  t.deepEqual(
    emitted.map(({ id, reason, localPort }) => ({ id, reason, localPort })),
    [1, 2, 3].map((id) => ({ id, reason: 'destroyed', localPort: port })),
  )
  t.like(server.stats(), { accepted: 3, shed: 3, queued: 0 })
})

test('destroy() ends a pending close()', async (t) => {
  const { server, reports, port } = await serve(t, 'one-at-a-time')
  call(t, port)
  await reports.next('connection')
  const closed = server.close({ timeout: 60_000 })
  server.destroy()
  await within(closed, 'close() after destroy()')
  t.pass()
})

test('a server is an async disposable', async (t) => {
  const server = createServer()
  const port = await listen(server)
  const pool = server.fork(fixture('describe-connection'), { workers: 1 })
  const [worker] = pool.workers
  await pool.ready
  t.regex(await ask(port), /"pid"/)
  await server[Symbol.asyncDispose]()
  t.is(worker?.state, 'exited')
  await t.throwsAsync(ask(port), { code: 'ECONNREFUSED' })
})
