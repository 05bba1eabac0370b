// A served server and its process behave as in Node.

import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { forkFixture, listen, serve, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

test('a closed server lets its process go although a connection stays unread, as in Node', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const { pool } = forkFixture(server, 'serve-net-unread', { restart: false })
  await pool.ready
  const exited = new Promise((resolve) => server.once('exit', (_worker, code) => resolve(code)))
  call(t, port).say('this is not read')
  t.is(await exited, 0)
})

for (const [kind, listeners] of [
  // Node's http adds its own to a socket and takes it off when that is upgraded.
  ['net', 0],
  ['http', 0],
] as const) {
  test(`a served socket has as many listeners of close as in Node (${kind})`, async (t) => {
    const { reports, port } = await serve(t, 'count-close-listeners', { args: [kind] })
    const caller = call(t, port)
    if (kind === 'http') caller.say('CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n')
    t.like(await reports.next('counted'), { listeners })
  })
}

test('net.Socket.prototype.connect is not called by a worker that serves', async (t) => {
  const { reports, port } = await serve(t, 'count-connect-calls')
  t.is(await ask(port), 'served')
  t.like(await reports.next('connection'), { calls: 0 })
})

for (const how of ['serve', 'event']) {
  test(`what a handler enters with AsyncLocalStorage is not seen by other connections (${how})`, async (t) => {
    const server = startServer(t)
    const port = await listen(server)
    // They wait first, so that many come in one turn.
    const callers = Array.from({ length: 40 }, () => call(t, port).say('hello'))
    await until(() => server.stats().queued === 40)
    const { reports } = forkFixture(server, 'enter-async-context', { env: { ...process.env, HOW: how } })
    for (const caller of callers) await caller.answer()
    for (let index = 0; index < 20; index++) await ask(port)
    const entered = new Set(reports.all.map((report) => report['entered']))
    t.deepEqual([...entered], [0])
  })
}
