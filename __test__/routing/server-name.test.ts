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
