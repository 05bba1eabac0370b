// A client returns to the worker slot of its session.

import { sessionId } from '@socketserver/node'
import test from 'ava'
import { call } from '../helpers/caller.js'
import { fetchOnce } from '../helpers/http.js'
import { forkFixture, portOf, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

/** The times are those of a loaded machine. */
const SESSION = { query: 'sid', timeout: 60_000, wait: 60_000 }

test('each of 100 sessions returns to the slot that has begun the session', async (t) => {
  const server = startServer(t)
  const port = portOf(await server.listen({ port: 0, host: '127.0.0.1', sticky: SESSION }))
  const { pool } = forkFixture(server, 'session-server', { workers: 4 })
  await pool.ready
  const slots = new Set<number>()
  const begun = await Promise.all(Array.from({ length: 100 }, () => fetchOnce(port)))
  for (const { status, body } of begun) {
    t.is(status, 200)
    const { id, slot } = JSON.parse(body)
    slots.add(slot)
    const again = await fetchOnce(port, { path: `/?sid=${id}` })
    t.deepEqual({ status: again.status, ...JSON.parse(again.body) }, { status: 200, id, slot })
  }
  t.true(slots.size > 1)
  await until(() => server.stats().leases === 0)
  t.deepEqual(server.stats().routed, { 'no-key': 100, sticky: 100 })
})

test('a session returns to its slot after the worker of the slot was replaced', async (t) => {
  const server = startServer(t)
  const port = portOf(await server.listen({ port: 0, host: '127.0.0.1', sticky: SESSION }))
  const { pool } = forkFixture(server, 'session-server', { workers: 3 })
  await pool.ready
  const { id, slot } = JSON.parse((await fetchOnce(port)).body)
  await pool.reload()
  for (let round = 0; round < 6; round++) {
    const again = await fetchOnce(port, { path: `/?sid=${id}` })
    t.deepEqual({ status: again.status, ...JSON.parse(again.body) }, { status: 400, id, slot })
  }
})

for (const strict of [false, true]) {
  test(`a connection ${strict ? 'waits for its slot with' : 'goes to another slot without'} strict`, async (t) => {
    const server = startServer(t)
    const sticky = { by: 'address', strict, wait: 60_000 } as const
    const port = portOf(await server.listen({ port: 0, host: '127.0.0.1', sticky }))
    const { pool, reports } = forkFixture(server, 'echo-with-concurrency', { workers: 2, args: ['1'] })
    await pool.ready
    const first = call(t, port).send('x')
    await first.receives('x')
    const second = call(t, port).send('x')
    if (strict) await until(() => server.stats().queued === 1)
    else await second.receives('x')
    first.disconnect()
    await second.receives('x')
    await until(() => reports.count('connection') === 2)
    const [one, two] = reports.all
    t.is(one?.pid === two?.pid, strict)
  })
}

test('a session id has no special characters and is different each time', (t) => {
  const ids = Array.from({ length: 100 }, sessionId)
  t.is(new Set(ids).size, 100)
  for (const id of ids) t.regex(id, /^[\w-]{32}$/)
})

for (const [what, sticky, message] of [
  ['another word', 'cookie', /options\.sticky.*'address', 'sni'/s],
  ['another kind of value', { by: 'cookie' }, /options\.sticky\.by.*'address'.*'sni'/s],
  ['a value and a place', { by: 'sni', cookie: 'a' }, /options\.sticky.*must have one of/s],
  ['a timeout of an address', { by: 'address', timeout: 5 }, /options\.sticky\.timeout.*the client sends nothing/s],
  ['a number as strict', { query: 'sid', strict: 1 }, /options\.sticky\.strict/],
  ['two places', { cookie: 'a', query: 'b' }, /options\.sticky.*must have one of/s],
  ['no place', { timeout: 5 }, /options\.sticky.*must have one of/s],
  ['an empty name', { cookie: '' }, /options\.sticky\.cookie/],
  ['an unknown option', { cookies: 'a' }, /options\.sticky\.cookies/],
] as const) {
  test(`${what} cannot be configured as sticky`, async (t) => {
    const options: object = { sticky }
    const error = await t.throwsAsync(() => startServer(t).listen(Object.assign({ port: 0 }, options)))
    t.regex(error?.message ?? '', message)
  })
}
