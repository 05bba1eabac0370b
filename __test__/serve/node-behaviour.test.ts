// A served server and its process behave as in Node.

import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { forkFixture, listen, serve, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

test('a closed server does not keep its process alive for an unread connection, as in Node', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const { pool } = forkFixture(server, 'serve-net-unread', { restart: false })
  await pool.ready
  const exited = new Promise((resolve) => server.once('exit', (_worker, code) => resolve(code)))
  call(t, port).send('this is not read')
  t.is(await exited, 0)
})

for (const [kind, listeners] of [
  // Node's http removes its own listener when the socket is upgraded.
  ['net', 0],
  ['http', 0],
] as const) {
  test(`a served socket has as many listeners of close as in Node (${kind})`, async (t) => {
    const { reports, port } = await serve(t, 'count-close-listeners', { args: [kind] })
    const caller = call(t, port)
    if (kind === 'http') caller.send('CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n')
    t.like(await reports.next('counted'), { listeners })
  })
}

test('serve() does not call net.Socket.prototype.connect', async (t) => {
  const { reports, port } = await serve(t, 'count-connect-calls')
  t.is(await ask(port), 'served')
  t.like(await reports.next('connection'), { calls: 0 })
})

for (const how of ['serve', 'event']) {
  test(`an AsyncLocalStorage context that a handler enters does not leak to other connections (${how})`, async (t) => {
    const server = startServer(t)
    const port = await listen(server)
    // Queued first, so that many arrive in one turn.
    const callers = Array.from({ length: 40 }, () => call(t, port).send('hello'))
    await until(() => server.stats().queued === 40)
    const { reports } = forkFixture(server, 'enter-async-context', { env: { ...process.env, HOW: how } })
    for (const caller of callers) await caller.answer()
    for (let index = 0; index < 20; index++) await ask(port)
    const entered = new Set(reports.all.map((report) => report['entered']))
    t.deepEqual([...entered], [0])
  })
}
