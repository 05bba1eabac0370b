import { text } from 'node:stream/consumers'
import { connect as connectTls } from 'node:tls'
import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { forkFixture, listen, serve, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

test('an aborted accept() rejects with the AbortError of Node', async (t) => {
  const { pool, reports } = await serve(t, 'accept-until-aborted')
  const [worker] = pool.workers
  worker?.process.send('accept')
  worker?.process.send('abort')
  t.like(await reports.next('rejected'), {
    name: 'AbortError',
    code: 'ABORT_ERR',
    message: 'The operation was aborted',
    cause: 'enough',
  })
})

test('a connection that arrives after an accept() was aborted goes to another worker', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'accept-until-aborted')
  const other = forkFixture(server, 'accept-on-command')
  await other.reports.next('connected')
  for (let i = 0; i < 5; i++) {
    for (const command of ['accept', 'abort']) pool.workers[0]?.process.send(command)
    await reports.next('rejected')
    const caller = call(t, port)
    await until(() => server.stats().queued === 1)
    other.pool.workers[0]?.process.send('accept')
    t.regex(await caller.answer(), /^\d+$/)
  }
  t.is(reports.count('rejected'), 5)
})

test('a worker whose accept() was aborted can call accept() again', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'accept-until-aborted')
  const [worker] = pool.workers
  for (const command of ['accept', 'abort', 'aborted']) worker?.process.send(command)
  await reports.next('rejected')
  t.like(await reports.next('rejected'), { code: 'ABORT_ERR' })
  const caller = call(t, port)
  await until(() => server.stats().queued === 1)
  worker?.process.send('accept')
  t.is(await caller.answer(), 'accepted')
})

test('concurrent accept() calls are answered in the order of the calls', async (t) => {
  const { server, port } = await serve(t, 'accept-many', { args: ['5'] })
  for (let i = 0; i < 5; i++) t.is(await ask(port), `${i}`)
  call(t, port)
  await until(() => server.stats().queued === 1)
  t.is(server.stats().handedOff, 5)
})

test('queued connections are given to accept() calls in the order of arrival', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const callers = []
  for (let i = 0; i < 5; i++) {
    callers.push(call(t, port))
    await until(() => server.stats().queued === i + 1)
  }
  forkFixture(server, 'accept-many', { args: ['5'] })
  t.deepEqual(await Promise.all(callers.map((caller) => caller.answer())), ['0', '1', '2', '3', '4'])
})

test('the lease of accept() ends when the handler has ended the socket, even if the client keeps its side open', async (t) => {
  const { server, reports, port } = await serve(t, 'accept-and-end')
  const caller = call(t, { port, host: '127.0.0.1', allowHalfOpen: true })
  await caller.receives('bye')
  t.like(await reports.next('lease'), { leases: 1 })
  t.like(await reports.next('ended'), { leases: 0, open: true })
  await until(() => server.stats().leases === 0)
  t.false(caller.socket.writableEnded)
})

test('a for await loop asks for no connection after break, and a new loop continues', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'break-on-command')
  t.is(await ask(port, 'go'), 'go')
  t.is(await ask(port, 'stop'), 'stop')
  await reports.next('broken')
  const waiting = call(t, port).send('again')
  await until(() => server.stats().queued === 1)
  t.is(server.stats().handedOff, 2)
  pool.workers[0]?.process.send('work')
  t.is(await waiting.answer(), 'again')
})

test('a for await loop ends when its worker is retired', async (t) => {
  const { pool, reports, port } = await serve(t, 'one-at-a-time')
  t.regex(await ask(port, 'words'), /words$/)
  await pool.close()
  t.is(reports.count('done'), 1)
})

test('a worker can wrap a connection in a TLSSocket', async (t) => {
  const { port } = await serve(t, 'accept-with-tls')
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  socket.end('over TLS')
  t.is(await within(text(socket), 'the echo'), 'over TLS')
})

test('a socket has the address of its client even after the client has disconnected', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const caller = call(t, port)
  await until(() => server.stats().queued === 1)
  const { localPort: remotePort } = caller.socket
  caller.socket.resetAndDestroy()
  const { reports } = forkFixture(server, 'report-connections')
  const address = { remoteAddress: '127.0.0.1', remotePort }
  t.like(await reports.next('connection'), { ...address, socket: { ...address, remoteFamily: 'IPv4' } })
})
