// Connections and servers that Node refuses to adopt.

import test from 'ava'
import { ask } from '../helpers/caller.js'
import { forkFixture, listen, serve, startServer, startThreads } from '../helpers/served.js'
import { until } from '../helpers/until.js'

for (const how of ['serve', 'event']) {
  test(`a connection that a worker cannot adopt is handed back, and the client emits an error (${how})`, async (t) => {
    const env = { ...process.env, FAILURES: '1', HOW: how }
    const { server, reports, port } = await serve(t, 'cannot-adopt', { env })
    t.is(await ask(port), 'served')
    t.like(await reports.next('error'), { message: 'open EACCES: the descriptor cannot be adopted' })
    t.like(server.stats(), { accepted: 1, handedBack: 1, cut: 0 })
    await until(() => server.stats().leases === 0)
  })
}

test('a connection that a thread cannot adopt is handed back, and the client emits an error', async (t) => {
  const env = { ...process.env, FAILURES: '1', HOW: 'serve' }
  const { server, reports, port } = await startThreads(t, 'cannot-adopt', { env })
  t.is(await ask(port), 'served')
  await reports.next('error')
  t.like(server.stats(), { accepted: 1, handedBack: 1, cut: 0 })
})

test('connect() throws in a process that cannot adopt any descriptor', async (t) => {
  const server = startServer(t)
  await listen(server)
  const env = { ...process.env, FAILURES: '1000', HOW: 'connect' }
  const { pool, reports } = forkFixture(server, 'cannot-adopt', { env, restart: false })
  await t.throwsAsync(pool.ready, { code: 'ERR_SOCKETSERVER_WORKER_EXITED' })
  t.like(await reports.next('connected'), { code: 'ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME' })
})

test("the client emits a clear error where Node's servers cannot listen on handles", async (t) => {
  const server = startServer(t)
  await listen(server)
  // The worker may exit before it has connected: nothing keeps its process.
  const { pool, reports } = forkFixture(server, 'refuse-handles', { restart: false })
  pool.ready.catch(() => {})
  const { code, message } = await reports.next('error')
  t.is(code, 'ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME')
  t.regex(
    String(message),
    /^This process cannot create sockets from the connections of a server: Node 20.19 or later is required/,
  )
})
