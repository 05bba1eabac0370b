// Every kind of Node server works under serve().

import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { text } from 'node:stream/consumers'
import { connect as connectTls } from 'node:tls'
import test from 'ava'
import { WebSocket } from 'ws'
import { ask, call } from '../helpers/caller.js'
import { fetchOnce } from '../helpers/http.js'
import { forkFixture, listen, serve, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

test('net: sockets have the address of their client', async (t) => {
  const { pool, server, port } = await serve(t, 'serve-net')
  const answer = JSON.parse(await ask(port))
  t.like(answer, { pid: pool.workers[0]?.pid, remoteAddress: '127.0.0.1', localPort: port })
  t.true(answer.remotePort > 0)
  await until(() => server.stats().leases === 0)
})

test('net: sockets have the address of their client even after the client has disconnected', async (t) => {
  const server = startServer(t)
  const caller = call(t, await listen(server))
  await until(() => server.stats().queued === 1)
  const { localPort: remotePort } = caller.socket
  caller.socket.resetAndDestroy()
  const { reports } = forkFixture(server, 'serve-net')
  t.like(await reports.next('connection'), { remoteAddress: '127.0.0.1', remotePort })
  await until(() => server.stats().leases === 0)
})

test('http: requests with and without a body are answered', async (t) => {
  const { server, port } = await serve(t, 'serve-http')
  const body = 'a'.repeat(200_000)
  t.like(await fetchOnce(port, { method: 'POST', body }), { status: 200, body })
  const answer = await fetchOnce(port)
  t.like(JSON.parse(answer.body), { remoteAddress: '127.0.0.1', byHandle: true })
  await until(() => server.stats().leases === 0)
})

test('https: a request is answered', async (t) => {
  const { server, port } = await serve(t, 'serve-https')
  t.like(await fetchOnce(port, { secure: true, path: '/a' }), { status: 200, body: 'GET /a for 127.0.0.1' })
  await until(() => server.stats().leases === 0)
})

test('tls: data is echoed', async (t) => {
  const { server, port } = await serve(t, 'serve-tls')
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  socket.end('over TLS')
  t.is(await within(text(socket), 'the echo'), 'over TLS')
  await until(() => server.stats().leases === 0)
})

test('http2 without TLS: streams of one session are answered', async (t) => {
  const { server, port } = await serve(t, 'serve-http2')
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  t.teardown(() => session.destroy())
  const answers = ['/a', '/b', '/c'].map((path) => within(text(session.request({ ':path': path })), path))
  t.deepEqual(await Promise.all(answers), ['GET /a by 2.0', 'GET /b by 2.0', 'GET /c by 2.0'])
  t.like(server.stats(), { handedOff: 1, leases: 1 })
  session.close()
  await until(() => server.stats().leases === 0)
})

test('http2 with TLS: HTTP/2 and HTTP/1 requests are answered', async (t) => {
  const { server, port } = await serve(t, 'serve-http2-secure')
  const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false })
  t.teardown(() => session.destroy())
  t.is(await within(text(session.request({ ':path': '/a' })), '/a'), 'GET /a by 2.0')
  session.close()
  t.is((await fetchOnce(port, { secure: true, path: '/b' })).body, 'GET /b by 1.1')
  await until(() => server.stats().leases === 0)
})

for (const framework of ['express', 'fastify']) {
  test(`${framework} runs unchanged`, async (t) => {
    const { server, port } = await serve(t, `serve-${framework}`)
    const got = await fetchOnce(port, { path: '/users/7' })
    t.is(got.status, 200)
    t.regex(got.body, /"7".*"ip":"127\.0\.0\.1"/)
    const headers = { 'Content-Type': 'application/json' }
    const posted = await fetchOnce(port, { path: '/users', method: 'POST', headers, body: '{"name":"Ann"}' })
    t.like(posted, { status: 201, body: '{"name":"Ann"}' })
    t.is((await fetchOnce(port, { path: '/nothing' })).status, 404)
    await until(() => server.stats().leases === 0)
  })
}

test('Fastify runs onReady hooks and no onListen hooks, as documented', async (t) => {
  const { port } = await serve(t, 'report-fastify-hooks')
  t.is((await fetchOnce(port, { path: '/' })).body, '["onReady"]')
})

test('ws runs unchanged', async (t) => {
  const { server, port } = await serve(t, 'serve-ws')
  const socket = new WebSocket(`ws://127.0.0.1:${port}`)
  const received: string[] = []
  socket.on('message', (data) => received.push(String(data)))
  await within(once(socket, 'open'), 'the upgrade')
  socket.send('a message')
  socket.send(Buffer.alloc(100_000, 'b'))
  await until(() => received.length === 3)
  t.deepEqual(received, ['hello 127.0.0.1', 'a message', 'b'.repeat(100_000)])
  t.is(server.stats().leases, 1)
  socket.close()
  const [code] = await within(once(socket, 'close'), 'the end')
  t.is(code, 1005)
  await until(() => server.stats().leases === 0)
})
