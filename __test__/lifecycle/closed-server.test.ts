// A server that drains or is closed starts nothing new.

import { SocketServerError } from '@socketserver/node'
import test from 'ava'
import { call } from '../helpers/caller.js'
import { fixture } from '../helpers/fixture.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

for (const state of ['closed', 'destroyed'] as const) {
  test(`listen(), fork() and resize() fail once the server is ${state}`, async (t) => {
    const server = startServer(t)
    const { pool } = forkFixture(server, 'describe-connection', { workers: 0 })
    if (state === 'closed') await server.close()
    else server.destroy()
    const late = {
      instanceOf: SocketServerError,
      code: 'ERR_SOCKETSERVER_CLOSED',
      message: / failed: the (server|pool) is /,
    }
    const forking = t.throws(() => server.fork(fixture('describe-connection')), late)
    t.is(forking?.message, `fork() failed: the server is ${state}`)
    const listening = await t.throwsAsync(server.listen(0, '127.0.0.1'), late)
    t.is(listening?.message, `listen() failed: the server is ${state}`)
    await t.throwsAsync(pool.resize(1), late)
    t.is(server.stats().workers, 0)
  })
}

test('a draining server refuses listen() and fork(), but its pools can still grow to finish the queue', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const { pool } = forkFixture(server, 'describe-connection', { workers: 0 })
  const waiting = call(t, port)
  await until(() => server.stats().queued === 1)
  const drained = server.drain()
  const late = { code: 'ERR_SOCKETSERVER_CLOSED', message: / failed: the server is draining$/ }
  await t.throwsAsync(server.listen(0, '127.0.0.1'), late)
  t.throws(() => server.fork(fixture('describe-connection')), late)
  await pool.resize(1)
  t.regex(await waiting.answer(), /"pid"/)
  t.like(await drained, { complete: true })
})
