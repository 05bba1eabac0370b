// HTTP limits, counters and options of Node work under serve() as on a server's own port.

import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { fetchOnce, requestText } from '../helpers/http.js'
import { serve } from '../helpers/served.js'
import { until } from '../helpers/until.js'

test('headersTimeout ends a request with incomplete headers', async (t) => {
  const { server, port } = await serve(t, 'serve-http-limits', { args: ['headersTimeout'] })
  t.regex(await ask(port, 'GET / HTTP/1.1\r\nHost: localhost\r\n'), /^HTTP\/1\.1 408 Request Timeout\r\n/)
  await until(() => server.stats().leases === 0)
})

test('requestTimeout ends a request with an incomplete body', async (t) => {
  const { server, port } = await serve(t, 'serve-http-limits', { args: ['requestTimeout'] })
  const beginning = `${requestText('/', { 'Content-Length': '10' }, 'POST')}half`
  t.regex(await ask(port, beginning), /^HTTP\/1\.1 408 Request Timeout\r\n/)
  await until(() => server.stats().leases === 0)
})

test('keepAliveTimeout ends a connection that is idle after an answer', async (t) => {
  const { server, port } = await serve(t, 'serve-http-limits', { args: ['keepAliveTimeout'] })
  const text = await ask(port, requestText('/'))
  t.regex(text, /^HTTP\/1\.1 200 OK\r\n/)
  t.regex(text, /\r\nConnection: keep-alive\r\n/)
  t.true(text.endsWith('answer'))
  await until(() => server.stats().leases === 0)
})

test('a malformed request is answered with 400', async (t) => {
  const { port } = await serve(t, 'serve-http')
  t.regex(await ask(port, 'no request\r\n\r\n'), /^HTTP\/1\.1 400 Bad Request\r\n/)
})

test('keep-alive requests stay on one connection and one lease', async (t) => {
  const { server, reports, port } = await serve(t, 'serve-http')
  const caller = call(t, port)
  for (let i = 1; i <= 3; i++) {
    caller.send(requestText(`/?${i}`))
    await reports.next('request')
    await until(() => caller.received.split('"connections":1').length === i + 1)
  }
  t.like(server.stats(), { handedOff: 1, leases: 1 })
  t.regex(caller.received, /"listening":true/)
  caller.socket.end()
  await caller.answer()
  await until(() => server.stats().leases === 0)
})

test('pipelined requests are answered in order', async (t) => {
  const { pool, reports, port } = await serve(t, 'serve-http')
  const caller = call(t, port).send(requestText('/slow') + requestText('/', { Connection: 'close' }))
  await until(() => reports.count('request') === 2)
  pool.workers[0]?.process.send('answer')
  t.regex(await caller.answer(), /slow.*HTTP\/1\.1 200 OK.*"pid"/s)
})

test('upgrade gets the socket with the bytes that followed the request', async (t) => {
  const { server, port } = await serve(t, 'serve-http-upgrade')
  const caller = call(t, port).send(`${requestText('/', { Connection: 'Upgrade', Upgrade: 'echo' })}early `)
  await caller.receives('early')
  caller.send('late')
  await caller.receives('early late')
  t.regex(caller.received, /^HTTP\/1\.1 101 /)
  t.is(server.stats().leases, 1)
  caller.socket.end()
  await caller.answer()
  await until(() => server.stats().leases === 0)
})

test('listening, address() and getConnections() have the same values as in Node', async (t) => {
  const { reports, port, pool } = await serve(t, 'serve-http')
  // As with listen(): the server listens at once and emits listening later.
  t.like(await reports.next('served'), { listening: true })
  await reports.next('listening')
  t.deepEqual(
    reports.all.slice(0, 2).map(({ event }) => event),
    ['served', 'listening'],
  )
  const idle = [call(t, port).send(requestText('/')), call(t, port).send(requestText('/'))]
  for (const caller of idle) await caller.receives('"pid"')
  const { body } = await fetchOnce(port)
  t.like(JSON.parse(body), { connections: 3, listening: true, address: { address: '127.0.0.1', family: 'IPv4', port } })
  for (const caller of idle) caller.disconnect()
  await until(async () => {
    pool.workers[0]?.process.send('count')
    return (await reports.next('counts'))['connections'] === 0
  })
  t.is(reports.count('listening'), 1)
})

test('a served server refuses listen()', async (t) => {
  const { pool, reports, port } = await serve(t, 'serve-http')
  await reports.next('listening')
  pool.workers[0]?.process.send('listen')
  t.like(await reports.next('listened'), { code: 'ERR_SERVER_ALREADY_LISTEN' })
  t.is((await fetchOnce(port)).status, 200)
})

test('maxConnections drops further connections with a drop event and ends their leases', async (t) => {
  const { server, reports, port } = await serve(t, 'serve-net-limited')
  const first = call(t, port).send('first')
  await first.receives('first')
  t.like(await reports.next('connection'), { connections: 1 })
  const second = call(t, port)
  t.is(await second.answer().catch(({ code }) => code === 'ECONNRESET' && ''), '')
  const { dropped } = await reports.next('drop')
  t.like(dropped, { remoteAddress: '127.0.0.1', remoteFamily: 'IPv4', localPort: port })
  await until(() => server.stats().leases === 1)
  first.disconnect()
  await until(() => server.stats().leases === 0)
  const third = call(t, port).send('third')
  await third.receives('third')
  t.is(server.stats().handedOff, 3)
})

test('pauseOnConnect and allowHalfOpen apply', async (t) => {
  const { reports, port } = await serve(t, 'serve-net-paused')
  const caller = call(t, port)
  caller.socket.end('all')
  t.is(await caller.answer(), 'received all')
  t.like(await reports.next('paused'), { paused: true, bytesRead: 0 })
})
