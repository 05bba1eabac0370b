// TLS clients of one host name reach one worker slot.

import test from 'ava'
import { fetchOnce } from '../helpers/http.js'
import { forkFixture, portOf, startServer } from '../helpers/served.js'

/** The times are those of a loaded machine. */
const STICKY = { by: 'sni', strict: true, timeout: 60_000, wait: 60_000 } as const

const HOSTS = Array.from({ length: 12 }, (_, index) => `host-${index}.test`)

test('all clients of a host name reach the same slot over TLS, also after a reload', async (t) => {
  const server = startServer(t)
  const port = portOf(await server.listen({ port: 0, host: '127.0.0.1', sticky: STICKY }))
  const { pool } = forkFixture(server, 'https-slot', { workers: 3 })
  await pool.ready
  const slots = async (): Promise<number[]> => {
    const answers = []
    for (const servername of HOSTS) {
      const answer = JSON.parse((await fetchOnce(port, { secure: true, servername })).body)
      t.is(answer.host, servername)
      answers.push(answer.slot)
    }
    return answers
  }
  const first = await slots()
  t.true(new Set(first).size > 1)
  t.deepEqual(await slots(), first)
  await pool.reload()
  t.deepEqual(await slots(), first)
  const { routed, accepted } = server.stats()
  t.deepEqual(routed, { sticky: accepted })
})

test('a TLS client without a host name reaches any worker', async (t) => {
  const server = startServer(t)
  const port = portOf(await server.listen({ port: 0, host: '127.0.0.1', sticky: STICKY }))
  const { pool } = forkFixture(server, 'https-slot')
  await pool.ready
  t.is((await fetchOnce(port, { secure: true, servername: '' })).status, 200)
  t.deepEqual(server.stats().routed, { 'no-key': 1 })
})

test('serverNames gives the connections of a host name to the pool of its port', async (t) => {
  const server = startServer(t)
  const serverNames = { 'a.test': 8001, '*.B.test': 8002 }
  const port = portOf(await server.listen({ port: 0, host: '127.0.0.1', serverNames }))
  const pools = new Map<number, number>()
  for (const lane of [8001, 8002, port]) {
    const { pool } = forkFixture(server, 'https-slot', { args: [String(lane)] })
    await pool.ready
    pools.set(pool.workers[0]?.pid ?? 0, lane)
  }
  const ask = async (servername: string): Promise<unknown> => {
    const answer = JSON.parse((await fetchOnce(port, { secure: true, servername })).body)
    t.like(answer, { host: servername, localPort: port })
    return pools.get(answer.pid)
  }
  t.is(await ask('a.test'), 8001)
  t.is(await ask('x.b.test'), 8002)
  t.is(await ask('b.test'), port)
  t.deepEqual(server.stats().routed, { named: 2, 'other-name': 1 })
})

for (const [what, serverNames, message] of [
  ['a list', ['a.test'], /options\.serverNames.*type object/s],
  ['no name', {}, /options\.serverNames.*must have at least one host name/s],
  ['an address with a port', { 'a.test:443': 8001 }, /options\.serverNames.*'a\.test:443'/s],
  ['an asterisk within a name', { 'a.*.test': 8001 }, /options\.serverNames.*'a\.\*\.test'/s],
  ['a name twice', { 'a.test': 8001, 'A.TEST': 8002 }, /options\.serverNames.*twice/s],
  ['port 0', { 'a.test': 0 }, /options\.serverNames\['a\.test'\].*1 to 65535/s],
  ['a path', { 'a.test': '/tmp/x' }, /options\.serverNames\['a\.test'\]/s],
] as const) {
  test(`${what} cannot be configured as serverNames`, async (t) => {
    const options: object = { serverNames }
    const error = await t.throwsAsync(() => startServer(t).listen(Object.assign({ port: 0 }, options)))
    t.regex(error?.message ?? '', message)
  })
}

test('serverNames and a cookie exclude each other', async (t) => {
  const options = { port: 0, serverNames: { 'a.test': 8001 }, sticky: { cookie: 'sid' } }
  const error = await t.throwsAsync(() => startServer(t).listen(options))
  t.regex(error?.message ?? '', /options\.sticky.*not allowed with serverNames/s)
})
