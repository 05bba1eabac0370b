// What flightaware/socketservertcl does, row by row.

import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { ask, type Caller, call } from '../helpers/caller.js'
import { run } from '../helpers/program.js'
import { forkFixture, listen, serve, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'

test('connections are accepted and handed off while the JavaScript of the parent is stuck', async (t) => {
  const unblock = join(temporaryDirectory(t), 'unblock')
  const parent = run(t, 'parent-that-blocks', { args: [unblock] })
  const port = Number(await parent.line())
  for (let i = 0; i < 10; i++) t.like(JSON.parse(await ask(port)), { localPort: port })
  t.is(parent.lines.length, 1, 'the parent was stuck all along')
  writeFileSync(unblock, '')
  t.like(await parent.json(), { accepted: 10, handedOff: 10 })
  t.is(await parent.exit(), 0)
})

test('a client may send before there is any worker, and is answered when there is one', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const caller = call(t, port).say('early')
  await until(() => server.stats().queued === 1)
  t.is(caller.received, '')
  forkFixture(server, 'echo')
  await caller.heard('early')
  t.like(server.stats(), { accepted: 1, handedOff: 1, queued: 0 })
})

test('all workers take from one queue, first come, first served', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const callers: Caller[] = []
  for (let i = 0; i < 9; i++) {
    callers.push(call(t, port))
    await until(() => server.stats().accepted === i + 1)
  }
  const { reports } = forkFixture(server, 'one-at-a-time', { workers: 3 })
  await until(() => reports.count('connection') === 3)
  // Whoever is answered, its worker must go on with the one that has waited longest.
  const ids: number[] = []
  for (const caller of [2, 0, 3, 1, 4, 5, 6, 7, 8]) {
    ids.push(Number.parseInt((await callers[caller]?.say('next').answer()) ?? '', 10))
    await until(() => reports.count('connection') === Math.min(9, ids.length + 3))
  }
  const [first, ...others] = reports.all.map(({ id }) => Number(id)).slice(3)
  t.deepEqual(
    others,
    [...others].sort((a, b) => a - b),
  )
  t.true(Math.max(...reports.all.slice(0, 3).map(({ id }) => Number(id))) < (first ?? 0))
  t.deepEqual(ids.slice(4), [...ids].sort((a, b) => a - b).slice(4))
  t.true(new Set(reports.all.map(({ pid }) => pid)).size === 3)
})

test('a worker has one connection at a time, and the next only when it asks again', async (t) => {
  const { server, reports, port } = await serve(t, 'one-at-a-time')
  const first = call(t, port)
  await reports.next('connection')
  const second = call(t, port).say('second')
  await until(() => server.stats().queued === 1)
  t.is(reports.count('connection'), 1)
  t.like(server.stats(), { leases: 1, handedOff: 1 })
  first.say('first')
  t.regex(await first.answer(), /first$/)
  t.regex(await second.answer(), /second$/)
  t.is(reports.count('connection'), 2)
})

test('a worker that does not ask again gets nothing more', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'accept-when-told')
  await reports.next('connected')
  const [worker] = pool.workers
  worker?.process.send('accept')
  t.regex(await ask(port), /^\d+$/)
  await until(() => server.stats().leases === 0)
  const waiting = call(t, port)
  await until(() => server.stats().queued === 1)
  t.is(waiting.received, '')
  t.is(server.stats().handedOff, 1)
  worker?.process.send('accept')
  t.regex(await waiting.answer(), /^\d+$/)
})

test('the handler is given a socket and the address and port of its client', async (t) => {
  const { port } = await serve(t, 'hello')
  const caller = call(t, port)
  await once(caller.socket, 'connect')
  const { localPort: remotePort } = caller.socket
  t.is(typeof remotePort, 'number')
  const told = JSON.parse(await caller.answer())
  t.like(told, { remoteAddress: '127.0.0.1', remotePort, localPort: port })
  t.deepEqual(told.socket, { isSocket: true, remoteAddress: '127.0.0.1', remotePort, localPort: port })
})

test('two ports have workers of their own, and one that has none holds nobody else up', async (t) => {
  const server = startServer(t)
  const [first, second] = [await listen(server), await listen(server)]
  const waiting = call(t, first)
  await until(() => server.stats().queued === 1)
  const two = forkFixture(server, 'hello', { args: [String(second)] })
  t.like(JSON.parse(await ask(second)), { localPort: second, pid: two.pool.workers[0]?.pid })
  t.is(server.stats().queued, 1)
  const one = forkFixture(server, 'hello', { args: [String(first)] })
  t.like(JSON.parse(await waiting.answer()), { localPort: first, pid: one.pool.workers[0]?.pid })
  t.like(JSON.parse(await ask(second)), { localPort: second, pid: two.pool.workers[0]?.pid })
})

test('one process can serve two ports, each by a client of its own', async (t) => {
  const server = startServer(t)
  const [first, second] = [await listen(server), await listen(server)]
  const { pool } = forkFixture(server, 'two-ports', { args: [String(first), String(second)] })
  await pool.ready
  for (let i = 0; i < 5; i++) {
    t.is(await ask(second), `second ${second}`)
    t.is(await ask(first), `first ${first}`)
  }
})

test('SIGUSR1 starts one more worker where the parent says so', async (t) => {
  const parent = run(t, 'parent-with-signal')
  const port = Number(await parent.line())
  parent.process.kill('SIGUSR1')
  t.is(await parent.line(), '2')
  parent.process.kill('SIGUSR1')
  t.is(await parent.line(), '3')
  const pids = new Set<number>()
  await until(async () => pids.add(JSON.parse(await ask(port)).pid).size === 3)
  parent.process.kill('SIGTERM')
  for (let i = 0; i < 3; i++) t.deepEqual(await parent.json(), { code: 0, signal: null })
  t.is(await parent.exit(), 0)
})

test('when the parent has exited, its workers finish what they hold, are told, and end', async (t) => {
  const parent = run(t, 'parent-that-exits')
  const port = Number(await parent.line())
  const caller = call(t, port).say('exit')
  t.is(await parent.exit(), 7)
  await until(() => parent.lines.includes('ERR_SOCKETSERVER_CONNECTION_LOST'))
  t.false(parent.lines.includes('close'), 'not while there is a lease')
  caller.say('question')
  t.is(await caller.answer(), 'answer to question')
  await until(() => parent.lines.includes('close'))
  // The worker holds the writing end of this pipe: its end is the worker's.
  await until(() => parent.process.stdout?.readableEnded ?? false)
  await t.throwsAsync(ask(port), { code: 'ECONNREFUSED' })
})
