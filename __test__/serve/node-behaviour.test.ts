// What a served server and its process are beside Node's own: in what they hold, what others see of them, and where they listen.

import { join } from 'node:path'
import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { fetchOnce, requestText } from '../helpers/http.js'
import { forkFixture, listen, serve, startServer, startThreads } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
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
  const { reports, port } = await serve(t, 'patched-connect')
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
    const { reports } = forkFixture(server, 'enter-context', { env: { ...process.env, HOW: how } })
    for (const caller of callers) await caller.answer()
    for (let index = 0; index < 20; index++) await ask(port)
    const entered = new Set(reports.all.map((report) => report['entered']))
    t.deepEqual([...entered], [0])
  })
}

test('a worker may serve any number of ports one after another, and 64 at one time', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const { reports } = forkFixture(server, 'many-ports', { args: [String(port)] })
  const refused = await reports.next('one more')
  t.is(refused['code'], 'ERR_SOCKETSERVER_TOO_MANY_PORTS')
  t.regex(String(refused['message']), /^connect\(\{ port: 64 \}\): .* 64 ports/)
  t.like(await reports.next('after one has closed'), { code: 'none' })
  await reports.next('done')
  t.is(await ask(port), 'served')
  t.is(server.stats().workers, 1)
})

for (const how of ['serve', 'event']) {
  test(`a connection that a worker cannot adopt goes back, and the worker tells of it (${how})`, async (t) => {
    const env = { ...process.env, FAILURES: '1', HOW: how }
    const { server, reports, port } = await serve(t, 'cannot-open', { env })
    t.is(await ask(port), 'served')
    t.like(await reports.next('error'), { message: 'open EACCES: the descriptor cannot be adopted' })
    t.like(server.stats(), { accepted: 1, handedBack: 1, cut: 0 })
    await until(() => server.stats().leases === 0)
  })
}

test('a connection that a thread cannot adopt goes back, and the worker tells of it', async (t) => {
  const env = { ...process.env, FAILURES: '1', HOW: 'serve' }
  const { server, reports, port } = await startThreads(t, 'cannot-open', { env })
  t.is(await ask(port), 'served')
  await reports.next('error')
  t.like(server.stats(), { accepted: 1, handedBack: 1, cut: 0 })
})

test('a worker that can adopt nothing is not ready, and is told why', async (t) => {
  const server = startServer(t)
  await listen(server)
  const env = { ...process.env, FAILURES: '1000', HOW: 'connect' }
  const { pool, reports } = forkFixture(server, 'cannot-open', { env, restart: false })
  await t.throwsAsync(pool.ready, { code: 'ERR_SOCKETSERVER_WORKER_EXITED' })
  t.like(await reports.next('connected'), { code: 'ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME' })
})

test("where Node's servers do not listen on handles, serve() throws one clear error", async (t) => {
  const { reports } = await serve(t, 'cannot-listen')
  const { code, message } = await reports.next('served')
  t.is(code, 'ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME')
  t.regex(
    String(message),
    /^This process cannot make sockets of the connections that a server sends it: supported are Node/,
  )
})

test("a served server's address() is the listener's as soon as it listens", async (t) => {
  const server = startServer(t)
  const { address, family, port } = await server.listen(0, '127.0.0.1')
  const { reports } = forkFixture(server, 'tell-address')
  t.deepEqual((await reports.next('listening'))['address'], { address, family, port })
  t.deepEqual(JSON.parse((await fetchOnce(port)).body), { address, family, port })
})

test("a served server's address() is the listener's of the port that it serves", async (t) => {
  const server = startServer(t)
  await listen(server)
  const { address, family, port } = await server.listen(0, '127.0.0.1')
  const env = { ...process.env, PORT: String(port) }
  const { reports } = forkFixture(server, 'tell-address', { env })
  t.deepEqual((await reports.next('listening'))['address'], { address, family, port })
})

test("a served server's address() is the path of a Unix listener", async (t) => {
  const server = startServer(t)
  const path = join(temporaryDirectory(t), 'socket')
  await server.listen({ path })
  const { reports } = forkFixture(server, 'tell-address')
  t.is((await reports.next('listening'))['address'], path)
  const caller = call(t, path).say(requestText('/', { Connection: 'close' }))
  t.true((await caller.answer()).endsWith(JSON.stringify(path)))
})
