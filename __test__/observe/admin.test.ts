// The responses of the admin listener, and the requests that the listener refuses.

import { existsSync, statSync } from 'node:fs'
import { type AdminOptions, createServer, type Server } from '@socketserver/node'
import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { linuxTest } from '../helpers/conditional-test.js'
import { type Answer, fetchOnce, requestText } from '../helpers/http.js'
import { run } from '../helpers/program.js'
import { forkFixture, listen, portOf, serve, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { blocking } from '../helpers/unblock.js'
import { until } from '../helpers/until.js'

async function adminOf(server: Server, options: AdminOptions = {}): Promise<number> {
  return portOf(await server.admin({ port: 0, ...options }))
}

async function get(port: number, path: string, headers: Record<string, string> = {}): Promise<Answer> {
  return await fetchOnce(port, { path, headers })
}

test('each path has its content and its type', async (t) => {
  const { server, port } = await serve(t, 'echo', { workers: 2 })
  const admin = await adminOf(server)
  const caller = call(t, port).send('words')
  await caller.receives('words')
  const idle = async () => JSON.parse((await get(admin, '/status.json')).body)
  // On a busy machine, a worker may count as stalled until its event loop turns.
  await until(async () => [...(await idle()).pools[0].scoreboard].sort().join('') === 'W_')
  const status = await idle()
  t.like(status, { pid: process.pid, unready: null, policy: 'least-busy' })
  t.like(status.stats, { leases: 1, queued: 0, queueLimit: 1024, paused: false })
  t.true(status.stats.accepted >= 1 && status.stats.handedOff >= 1)
  t.deepEqual(
    status.workers.map(({ slot, state, generation }: { slot: number; state: string; generation: number }) => [
      slot,
      state,
      generation,
    ]),
    [
      [0, 'ready', 1],
      [1, 'ready', 1],
    ],
  )
  const auto = await get(admin, '/status?auto')
  t.regex(auto.body, /^BusyWorkers: 1\nIdleWorkers: 1\n/m)
  t.regex(auto.body, /^Scoreboard: [W_]{2}$/m)
  const metrics = await get(admin, '/metrics')
  t.is(metrics.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
  t.true(metrics.body.includes('socketserver_connections{state="leased"} 1\n'))
  const open = await get(admin, '/metrics', { accept: 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5' })
  t.is(open.headers['content-type'], 'application/openmetrics-text; version=1.0.0; charset=utf-8')
  t.true(open.body.endsWith('# EOF\n'))
  const page = await get(admin, '/')
  t.is(page.headers['content-type'], 'text/html; charset=utf-8')
  t.regex(String(page.headers['content-security-policy']), /^default-src 'none'; script-src 'nonce-[0-9a-f]{32}'/)
  t.not((await get(admin, '/')).headers['content-security-policy'], page.headers['content-security-policy'])
  t.is((await get(admin, '/other')).status, 404)
})

test('a stalled worker recovers when its event loop turns again, without a further connection', async (t) => {
  const { env, unblock } = blocking(t)
  const { server, pool, reports, port } = await serve(t, 'block-on-command', { env: { ...process.env, ...env } })
  const admin = await adminOf(server)
  pool.workers[0]?.process.send('block')
  await reports.next('blocked')
  await forkFixture(server, 'answer-tokens').pool.ready
  const scoreboard = async (): Promise<string> => {
    const { pools } = JSON.parse((await get(admin, '/status.json')).body)
    return pools.find(({ name }: { name: string }) => name === 'block-on-command.js').scoreboard
  }
  await until(async () => {
    await ask(port)
    return (await scoreboard()) === '!'
  })
  unblock()
  await reports.next('unblocked')
  await until(async () => (await scoreboard()) === '_')
  t.pass()
})

linuxTest('the status shows an event loop as busy that is blocked in one turn', async (t) => {
  const { server, pool } = await serve(t, 'spin-on-command')
  const admin = await adminOf(server)
  const share = async (): Promise<number | null> => {
    const { workers } = JSON.parse((await get(admin, '/status.json')).body)
    return workers[0].eventLoopUtilization
  }
  // Unknown until the turn has ended in which the worker has connected.
  await until(async () => (await share()) !== null)
  pool.workers[0]?.process.send(60_000)
  await until(async () => Number(await share()) > 0.9)
  await until(() => Number(pool.workers[0]?.eventLoopUtilization) > 0.9)
  t.pass()
})

test('no response contains an argument, a variable or the address of a client', async (t) => {
  const { server, port } = await serve(t, 'echo', { args: ['secret-argument'], env: { SECRET: 'secret-variable' } })
  const admin = await adminOf(server)
  const caller = call(t, port).send('words')
  await caller.receives('words')
  const { localPort } = caller.socket
  for (const path of ['/status.json', '/metrics', '/status?auto', '/readyz', '/livez', '/startupz']) {
    const { body } = await get(admin, path)
    t.false(body.includes('secret') || body.includes(`:${localPort}`), path)
  }
})

test('the address is loopback by default, and the option host replaces it', async (t) => {
  const server = startServer(t)
  t.like(await server.admin({ port: 0 }), { address: '127.0.0.1', family: 'IPv4' })
  t.like(await server.admin({ port: 0, host: 'localhost' }), { family: 'IPv4' })
})

test('only its user can open a Unix socket, and the file is removed when the listener closes', async (t) => {
  const path = `${temporaryDirectory(t)}/admin.sock`
  const server = createServer()
  t.deepEqual(await server.admin({ path }), { path })
  t.is(statSync(path).mode & 0o777, 0o600)
  const answer = await call(t, path)
    .send(requestText('/livez', { Host: 'anything' }))
    .answer()
  t.regex(answer, /^HTTP\/1\.1 200 OK\r\n/)
  await server.close()
  t.false(existsSync(path))
})

test('a port in use has the same error as with listen()', async (t) => {
  const server = startServer(t)
  const port = await adminOf(server)
  await t.throwsAsync(server.admin({ port }), { code: 'EADDRINUSE' })
})

test('the error for an invalid option contains its name', async (t) => {
  const server = startServer(t)
  const refused = async (options: object, code: string, message: RegExp) =>
    t.throwsAsync(async () => Reflect.apply(server.admin, server, [options]), { code, message })
  await refused({}, 'ERR_INVALID_ARG_TYPE', /options\.port/)
  await refused({ port: 70_000 }, 'ERR_OUT_OF_RANGE', /options\.port/)
  await refused({ port: 0, path: '/x' }, 'ERR_INVALID_ARG_VALUE', /options\.path/)
  await refused({ port: 0, hosst: 'a' }, 'ERR_INVALID_ARG_VALUE', /did you mean 'host'/)
  await refused({ port: 0, maxQueueShare: 0 }, 'ERR_INVALID_ARG_VALUE', /options\.maxQueueShare/)
  await refused({ port: 0, hosts: 'a' }, 'ERR_INVALID_ARG_TYPE', /options\.hosts/)
})

test('methods other than GET and HEAD are refused', async (t) => {
  const admin = await adminOf(startServer(t))
  for (const method of ['POST', 'DELETE', 'OPTIONS']) {
    const { status, headers } = await fetchOnce(admin, { path: '/metrics', method })
    t.is(status, 405)
    t.is(headers.allow, 'GET, HEAD')
  }
  const { status, headers, body } = await fetchOnce(admin, { path: '/metrics', method: 'HEAD' })
  t.is(status, 200)
  t.is(body, '')
  t.true(Number(headers['content-length']) > 1000)
})

test('a Host header with the name of another site is refused', async (t) => {
  const server = startServer(t)
  const admin = await adminOf(server)
  t.is((await get(admin, '/metrics', { host: `rebound.example:${admin}` })).status, 403)
  for (const host of [`127.0.0.1:${admin}`, `localhost:${admin}`, '[::1]', '10.1.2.3']) {
    t.is((await get(admin, '/metrics', { host })).status, 200, host)
  }
  const named = await adminOf(server, { hosts: ['metrics.internal'] })
  t.is((await get(named, '/metrics', { host: `metrics.internal:${named}` })).status, 200)
  t.is((await get(named, '/metrics', { host: 'rebound.example' })).status, 403)
})

test('a head that is invalid or too long is refused', async (t) => {
  const admin = await adminOf(startServer(t))
  for (const [text, status] of [
    ['hello\r\n\r\n', 400],
    ['GET http://rebound.example/ HTTP/1.1\r\n\r\n', 400],
    [requestText('/', { Filler: 'x'.repeat(9000) }), 431],
  ] as const) {
    const caller = call(t, admin).send(text)
    t.regex(await caller.answer(), new RegExp(`^HTTP/1\\.1 ${status} `))
  }
})

test('a client that sends no complete head is disconnected, and blocks no other client', async (t) => {
  const admin = await adminOf(startServer(t))
  const silent = Array.from({ length: 40 }, () => call(t, admin).send('GET / HT'))
  for (const caller of silent) await caller.connected()
  t.is((await get(admin, '/livez')).status, 200)
  const ends = await Promise.all(silent.map((caller) => caller.answer().catch(() => '')))
  const [oldest, newest] = [ends.slice(0, 8), ends.slice(16)]
  t.true(
    oldest.every((text) => text === ''),
    'replaced by newer clients at once, instead of after the time limit',
  )
  t.true(
    newest.every((text) => text.startsWith('HTTP/1.1 408 ')),
    'disconnected after the time limit',
  )
})

test('readiness needs a listener, a ready worker and room in the queue', async (t) => {
  const server = startServer(t, { maxQueue: 4 })
  const admin = await adminOf(server, { maxQueueShare: 0.5 })
  const readiness = async () => await get(admin, '/readyz')
  const unready = await readiness()
  t.is(unready.status, 503)
  t.true(unready.body.includes('[-] not listening\n') && unready.body.includes('[-] 0 ready workers'))
  const port = await listen(server)
  const { pool } = forkFixture(server, 'echo')
  await pool.ready
  await until(async () => (await readiness()).status === 200)
  await pool.close()
  const callers = Array.from({ length: 2 }, () => call(t, port).send('words'))
  await until(() => server.stats().queued === 2)
  const full = await readiness()
  t.is(full.status, 503)
  t.true(full.body.includes('[+] listening\n') && full.body.includes('[-] 2 of 4 connections in the queue\n'))
  for (const caller of callers) caller.disconnect()
})

test('startup is complete after the first workers have become ready, and remains complete', async (t) => {
  const server = startServer(t)
  const admin = await adminOf(server)
  t.is((await get(admin, '/startupz')).status, 503)
  const { pool } = forkFixture(server, 'echo')
  await pool.ready
  await until(async () => (await get(admin, '/startupz')).status === 200)
  await pool.close()
  t.is((await get(admin, '/startupz')).status, 200)
})

test('a drain makes the server unready', async (t) => {
  const { server, port } = await serve(t, 'echo')
  const admin = await adminOf(server)
  const caller = call(t, port).send('words')
  await caller.receives('words')
  t.is((await get(admin, '/readyz')).status, 200)
  const drained = server.drain()
  const { status, body } = await get(admin, '/readyz')
  t.is(status, 503)
  t.true(body.includes('[-] draining\n'))
  t.is((await get(admin, '/livez')).status, 200)
  caller.disconnect()
  await drained
})

test('the listener answers while the queue is full and there is no worker', async (t) => {
  const server = startServer(t, { maxQueue: 1 })
  const admin = await adminOf(server)
  const port = await listen(server)
  for (const words of ['a', 'b', 'c']) call(t, port).send(words)
  await until(() => server.stats().paused)
  const status = JSON.parse((await get(admin, '/status.json')).body)
  t.like(status.stats, { paused: true, queued: 1 })
  const { status: ready, body } = await get(admin, '/readyz')
  t.is(ready, 503)
  t.true(body.includes('[-] 1 of 1 connections in the queue\n'))
})

test('the status is sent each second as an event', async (t) => {
  const { server } = await serve(t, 'echo')
  const caller = call(t, await adminOf(server)).send(requestText('/events'))
  await until(() => caller.received.split('\n').filter((line) => line.startsWith('data: {')).length >= 2)
  t.regex(caller.received, /content-type: text\/event-stream\r\n/i)
  const [event = ''] = caller.received.split('\n').filter((line) => line.startsWith('data: '))
  t.is(JSON.parse(event.slice('data: '.length)).pid, process.pid)
})

test('the recent events contain a killed worker with its slot and signal', async (t) => {
  const { server, pool } = await serve(t, 'echo')
  const admin = await adminOf(server)
  const [worker] = pool.workers
  process.kill(worker?.pid ?? 0, 'SIGKILL')
  const texts = async (): Promise<string[]> => {
    const { events } = JSON.parse((await get(admin, '/status.json')).body)
    return events.map(({ text }: { text: string }) => text)
  }
  await until(async () => (await texts()).includes(`slot 0 of echo.js (pid ${worker?.pid}) was killed by SIGKILL`))
  t.pass()
})

test('the listener closes with its server', async (t) => {
  const { server } = await serve(t, 'echo')
  const admin = await adminOf(server)
  await server.close()
  await t.throwsAsync(get(admin, '/livez'), { code: 'ECONNREFUSED' })
  await t.throwsAsync(server.admin({ port: 0 }), { code: 'ERR_SOCKETSERVER_CLOSED' })
})

test('an admin listener does not keep the process alive', async (t) => {
  t.is(await run(t, 'open-admin-and-end').exit(), 0)
})
