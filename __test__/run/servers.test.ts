// Unmodified servers of each kind in two workers.

import { once } from 'node:events'
import { statSync } from 'node:fs'
import { connect as connectHttp2 } from 'node:http2'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect as connectTls } from 'node:tls'
import test from 'ava'
import { certificate } from '../helpers/certificate.js'
import { fetchOnce } from '../helpers/http.js'
import { runApp } from '../helpers/run-app.js'
import { portOf, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { TlsSession } from '../helpers/tls-session.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'
import { writeApp } from '../helpers/write-app.js'

const TLS = JSON.stringify(certificate)

const KINDS = {
  http: `require('node:http').createServer((_, response) => response.end('http'))`,
  https: `require('node:https').createServer(${TLS}, (_, response) => response.end('https'))`,
  net: `require('node:net').createServer((socket) => socket.end('net'))`,
  tls: `require('node:tls').createServer(${TLS}, (socket) => socket.end('tls'))`,
  http2: `require('node:http2').createServer((_, response) => response.end('http2'))`,
  h2s: `require('node:http2').createSecureServer(${TLS}, (_, response) => response.end('h2s'))`,
}

async function http2Answer(url: string): Promise<string> {
  const session = connectHttp2(url, { rejectUnauthorized: false })
  const answer = await within(text(session.request({ ':path': '/' })), 'an answer over HTTP/2')
  session.close()
  return answer
}

const CLIENTS: Record<string, (port: number) => Promise<string>> = {
  http: async (port) => (await fetchOnce(port)).body,
  https: async (port) => (await fetchOnce(port, { secure: true })).body,
  net: async (port) => await within(text(createConnection(port, '127.0.0.1')), 'an answer'),
  tls: async (port) =>
    await within(text(connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })), 'an answer over TLS'),
  http2: async (port) => await http2Answer(`http://127.0.0.1:${port}`),
  h2s: async (port) => await http2Answer(`https://127.0.0.1:${port}`),
}

test('servers of net, http, https, tls and http2 listen at once, each on a port that all workers share', async (t) => {
  const app = writeApp(
    t,
    `const servers = { ${Object.entries(KINDS)
      .map(([name, source]) => `${name}: ${source}`)
      .join(', ')} }
     const ports = {}
     for (const [name, server] of Object.entries(servers)) ports[name] = server.listen(0, '127.0.0.1').address()?.port
     setTimeout(() => process.send({ event: 'ports', ports }))`,
  )
  const { server, reports } = await runApp(t, app)
  const [first, second] = [await reports.next('ports'), await reports.next('ports')]
  // Node looks up a host first, also in a single process, so the address is known later.
  const addresses = server.addresses().map(portOf)
  t.is(addresses.length, Object.keys(KINDS).length)
  t.is(first.pid === second.pid, false)
  for (const [index, name] of Object.keys(KINDS).entries()) {
    const port = addresses[index] ?? 0
    for (let i = 0; i < 4; i++) t.is(await CLIENTS[name]?.(port), name)
  }
})

test('the second listen(0) of a worker gets a second port, the same in all workers, also after a reload', async (t) => {
  const app = writeApp(
    t,
    `const { createServer } = require('node:http')
     const listen = (body) => createServer((_, response) => response.end(body)).listen(0).address().port
     process.send({ event: 'ports', ports: [listen('first'), listen('second')] })`,
  )
  const { pool, reports } = await runApp(t, app)
  await pool.reload()
  const { ports } = await reports.next('ports')
  for (let i = 0; i < 3; i++) t.deepEqual((await reports.next('ports'))['ports'], ports)
  t.true(Array.isArray(ports) && ports[0] !== ports[1])
  if (!Array.isArray(ports)) return
  t.is((await fetchOnce(ports[0])).body, 'first')
  t.is((await fetchOnce(ports[1])).body, 'second')
})

test('workers share a Unix socket with the mode that the app asks for', async (t) => {
  const path = join(temporaryDirectory(t), 'app.sock')
  const app = writeApp(
    t,
    `const server = require('node:http').createServer((_, response) => response.end(String(process.pid)))
     server.listen({ path: ${JSON.stringify(path)}, readableAll: true, writableAll: true })
     process.send({ event: 'address', address: server.address() })`,
  )
  const { server, pool, reports } = await runApp(t, app)
  t.is((await reports.next('address'))['address'], path)
  t.deepEqual(server.addresses(), [{ path }])
  t.is(statSync(path).mode & 0o666, 0o666)
  const pids = new Set<string>()
  for (let i = 0; i < 100 && pids.size < 2; i++) pids.add((await fetchOnce(0, { socketPath: path })).body)
  t.is(pids.size, 2)
  await pool.close()
  t.is(statSync(path, { throwIfNoEntry: false }), undefined)
})

test('a listener closes when every worker has closed it', async (t) => {
  const app = writeApp(
    t,
    `const { createServer } = require('node:http')
     const server = createServer((_, response) => response.end(String(process.pid))).listen(0)
     createServer().listen(0)
     process.on('message', () => server.close(() => process.send({ event: 'closed' })))`,
  )
  const { server, pool, reports, port } = await runApp(t, app)
  const [one, other] = pool.workers
  one?.process?.send('close')
  await reports.next('closed')
  for (let i = 0; i < 10; i++) t.is((await fetchOnce(port)).body, String(other?.pid))
  other?.process?.send('close')
  await reports.next('closed')
  // The worker does not wait for its parent.
  await until(() => server.addresses().length === 1)
  await t.throwsAsync(fetchOnce(port), { code: 'ECONNREFUSED' })
})

test('a listener stays open when all workers have died, and connections wait for new workers', async (t) => {
  const app = writeApp(
    t,
    `require('node:http').createServer((_, response) => response.end(String(process.pid))).listen(0)`,
  )
  const { server, pool, port } = await runApp(t, app, { restart: { minDelay: 1, crashLoop: 100 } })
  const before = pool.workers.map(({ pid }) => String(pid))
  const gone = new Promise<void>((resolve) => {
    let exits = 0
    server.on('exit', () => ++exits === 2 && resolve())
  })
  for (const { process: child } of pool.workers) child?.kill('SIGKILL')
  await within(gone, 'the exit of both workers')
  const { body } = await fetchOnce(port)
  t.false(before.includes(body))
})

test('a probe for a free port leaves no listener, and the app can listen on the port at once', async (t) => {
  const app = writeApp(
    t,
    `const { createServer } = require('node:net')
     const probe = createServer().listen(0, () => {
       const { port } = probe.address()
       probe.close(() => {
         const server = require('node:http').createServer((_, response) => response.end('served')).listen(port)
         process.send({ event: 'listens', port, isSame: server.address()?.port === port })
       })
     })`,
  )
  const { server, reports } = await runApp(t, app, { workers: 1 })
  const { port, isSame } = await reports.next('listens')
  t.true(isSame)
  t.deepEqual(server.addresses().map(portOf), [Number(port)])
  t.is((await fetchOnce(Number(port))).body, 'served')
})

test('a probe for a free port takes no connection that waits for the app', async (t) => {
  const app = writeApp(
    t,
    `const { createServer } = require('node:net')
     const probe = (left) => {
       if (left === 0) return require('node:http').createServer((_, response) => response.end('served')).listen(process.env.PORT)
       const server = createServer((socket) => socket.end('HTTP/1.1 500 Probed\\r\\nContent-Length: 0\\r\\n\\r\\n'))
       server.listen(process.env.PORT, () => server.close(() => probe(left - 1)))
     }
     probe(20)`,
  )
  const server = startServer(t)
  const { port } = await server.listen(0, '127.0.0.1')
  const waiting = Array.from({ length: 10 }, () => fetchOnce(port))
  await until(() => server.stats().queued === 10)
  const pool = server.run(app, { workers: 1, port, execArgv: [] })
  await pool.ready
  for (const answer of waiting) t.like(await answer, { status: 200, body: 'served' })
})

test('an app with only exclusive listeners is ready when it listens', async (t) => {
  const app = writeApp(
    t,
    `const server = require('node:http').createServer((_, response) => response.end('own'))
     server.listen({ port: 0, exclusive: true }, () => process.send({ event: 'own', port: server.address().port }))`,
  )
  const { server, reports } = await runApp(t, app, { workers: 1 })
  const { port } = await reports.next('own')
  t.is((await fetchOnce(Number(port))).body, 'own')
  t.is(server.addresses().length, 0)
})

test('each worker has a separate exclusive listener', async (t) => {
  const app = writeApp(
    t,
    `const server = require('node:http').createServer((_, response) => response.end(String(process.pid)))
     server.listen({ port: 0, exclusive: true }, () => process.send({ event: 'own', port: server.address().port }))
     require('node:http').createServer().listen(0)`,
  )
  const { server, reports } = await runApp(t, app)
  const [first, second] = [await reports.next('own'), await reports.next('own')]
  t.not(first['port'], second['port'])
  for (const { port, pid } of [first, second]) t.is((await fetchOnce(Number(port))).body, String(pid))
  t.is(server.addresses().length, 1)
})

test('workers share a UDP socket', async (t) => {
  const app = writeApp(
    t,
    `const socket = require('node:dgram').createSocket('udp4')
     socket.on('message', (message, { port, address }) => socket.send(message + ' ' + process.pid, port, address))
     socket.bind(0, '127.0.0.1', () => process.send({ event: 'bound', address: socket.address() }))
     process.on('message', () => socket.close(() => process.send({ event: 'closed' })))
     require('node:http').createServer().listen(0)`,
  )
  const { pool, reports } = await runApp(t, app)
  const [first, second] = [await reports.next('bound'), await reports.next('bound')]
  t.deepEqual(first['address'], second['address'])
  const { createSocket } = await import('node:dgram')
  const client = createSocket('udp4')
  t.teardown(() => client.close())
  const { address } = first
  const port = typeof address === 'object' && address !== null ? Number(Reflect.get(address, 'port')) : 0
  const ask = async (): Promise<string> => {
    const answered = once(client, 'message')
    client.send('hello', port, '127.0.0.1')
    const [message] = await within(answered, 'a datagram')
    return String(message)
  }
  t.regex(await ask(), /^hello \d+$/)
  pool.workers[0]?.process?.send('close')
  await reports.next('closed')
  t.is(await ask(), `hello ${pool.workers[1]?.pid}`)
})

test('each worker resumes TLS sessions of the other, also after a reload', async (t) => {
  const app = writeApp(
    t,
    `require('node:tls').createServer(${TLS}, (socket) => socket.end(String(process.pid))).listen(0)`,
  )
  const { pool, port } = await runApp(t, app, { server: { policy: 'round-robin' } })
  const client = new TlsSession()
  t.false(await client.visit(port))
  // The workers do not alternate strictly: a connection that a busy worker has not taken after 5 ms goes to the other worker.
  for (let i = 0; i < 200 && client.answers.size < 2; i++) t.true(await client.visit(port))
  await pool.reload()
  for (let i = 0; i < 200 && client.answers.size < 4; i++) t.true(await client.visit(port))
  t.is(client.answers.size, 4)
})
