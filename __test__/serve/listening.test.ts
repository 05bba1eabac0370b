// When a served server emits `listening`, and what its address is then.

import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { frame } from '../helpers/frames.js'
import { fetchOnce } from '../helpers/http.js'
import { run } from '../helpers/program.js'
import { forkFixture, listen, serve, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'

test('a worker that was started before listen() listens when its parent does, at the address of the parent', async (t) => {
  const server = startServer(t)
  const { pool, reports } = forkFixture(server, 'report-address')
  await pool.ready
  t.is(reports.count('listening'), 0)
  const { address, family, port } = await server.listen(0, '127.0.0.1')
  t.deepEqual((await reports.next('listening'))['address'], { address, family, port })
  t.is(server.stats().accepted, 0)
  t.deepEqual(JSON.parse((await fetchOnce(port)).body), { address, family, port })
  await listen(server)
  t.deepEqual(JSON.parse((await fetchOnce(port)).body), { address, family, port })
  t.is(reports.count('listening'), 1)
})

test('a server of one port listens when the parent listens on that port', async (t) => {
  const parent = startServer(t)
  const first = await parent.listen(0, '127.0.0.1')
  const free = createServer().listen(0, '127.0.0.1')
  await once(free, 'listening')
  const port = Number(Reflect.get(Object(free.address()), 'port'))
  await new Promise((resolve) => free.close(resolve))
  const { pool, reports } = forkFixture(parent, 'report-address', { env: { ...process.env, PORT: String(port) } })
  await pool.ready
  t.is(reports.count('listening'), 0)
  await parent.listen(port, '127.0.0.1')
  t.deepEqual((await reports.next('listening'))['address'], { ...first, port })
})

test('a worker that joins at a path listens when it has joined, and has the address of each later server', async (t) => {
  const path = join(temporaryDirectory(t), 'ctl')
  const member = run(t, 'serve-and-report-address', { args: [path] })
  t.is(await member.line(), 'served null')
  for (const round of [0, 1]) {
    const server = startServer(t)
    const { address, family, port } = await server.listen(0, '127.0.0.1')
    await server.share(path)
    t.is(await member.line(), 'joined')
    if (round === 0) t.is(await member.line(), `listening ${JSON.stringify({ address, family, port })}`)
    t.is(server.stats().accepted, 0)
    t.deepEqual(JSON.parse((await fetchOnce(port)).body), { address, family, port })
    server.destroy()
    await server.close()
  }
})

test('under a parent whose protocol version has no addresses, a served server listens when its worker has joined', async (t) => {
  const path = join(temporaryDirectory(t), 'ctl')
  const older = createServer((socket) => {
    socket.on('error', () => {})
    const welcome = Buffer.concat([Buffer.from('SSRV'), Buffer.from([2, 0, 0, 0, 1, 0, 0, 0])])
    socket.once('data', () => socket.write(frame(0x81, 1, welcome)))
  }).listen(path)
  t.teardown(() => older.close())
  await once(older, 'listening')
  const member = run(t, 'serve-and-report-address', { args: [path] })
  t.is(await member.line(), 'served null')
  t.is(await member.line(), 'joined')
  t.is(await member.line(), 'listening {"address":"::","family":"IPv6","port":0}')
})

test('a worker may wait for `listening` before it calls client.ready()', async (t) => {
  const { reports, port, server } = await serve(t, 'ready-when-listening', { ready: 'manual' })
  const address = { address: '127.0.0.1', family: 'IPv4', port }
  t.deepEqual((await reports.next('listening'))['address'], address)
  t.is(server.stats().workers, 1)
  t.deepEqual(JSON.parse((await fetchOnce(port)).body), address)
})

test('a worker that calls client.ready() need not wait for its parent to listen', async (t) => {
  const server = startServer(t)
  const { pool, reports } = forkFixture(server, 'ready-when-listening', { ready: 'manual' })
  await pool.ready
  t.deepEqual((await reports.next('listening'))['address'], { address: '::', family: 'IPv6', port: 0 })
  const { address, family, port } = await server.listen(0, '127.0.0.1')
  t.deepEqual(JSON.parse((await fetchOnce(port)).body), { address, family, port })
})

test('a served server can be closed before its parent listens, and cannot listen elsewhere', async (t) => {
  const server = startServer(t)
  const { reports } = forkFixture(server, 'close-before-listening', { restart: false })
  t.like(await reports.next('listened'), { code: 'ERR_SERVER_ALREADY_LISTEN' })
  t.like(await reports.next('server closed'), { error: 'none' })
  await reports.next('client closed')
  await listen(server)
  t.is(reports.count('listening'), 0)
})
