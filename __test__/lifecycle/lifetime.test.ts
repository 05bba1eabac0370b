// What a server does while it lives, and the ways in which it ends.

import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { createServer, type ShedInfo } from '@socketserver/node'
import test from 'ava'
import { ask, call, refuses } from '../helpers/caller.js'
import { fixture } from '../helpers/fixture.js'
import { run } from '../helpers/program.js'
import { forkFixture, listen, serve, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

test('stats() is a snapshot of counters that only grow, and of what is held', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const first = server.stats()
  t.like(first, {
    accepted: 0,
    handedOff: 0,
    requeued: 0,
    shed: 0,
    queued: 0,
    maxQueued: 0,
    leases: 0,
    workers: 0,
    paused: false,
    waitMs: { p50: 0, p99: 0, max: 0 },
    acceptErrors: {},
  })
  const callers = [call(t, port).say('a'), call(t, port).say('b')]
  await until(() => server.stats().queued === 2)
  await delay(20)
  forkFixture(server, 'echo')
  for (const caller of callers) await caller.heard(callers.indexOf(caller) === 0 ? 'a' : 'b')
  const second = server.stats()
  t.like(second, { accepted: 2, handedOff: 2, queued: 0, maxQueued: 2, leases: 2, workers: 1, requeued: 0, shed: 0 })
  const { p50, p99, max } = second.waitMs
  t.true(p50 >= 20 && p99 >= p50 && max >= p99, JSON.stringify(second.waitMs))
  t.like(first, { accepted: 0, queued: 0 }, 'a snapshot stays as it was')
  for (const caller of callers) caller.hangUp()
  await until(() => server.stats().leases === 0)
  t.like(server.stats(), { accepted: 2, handedOff: 2, maxQueued: 2 })
})

test('a connection that waits for longer than queueTimeout is reset, counted and told of', async (t) => {
  const server = startServer(t, { queueTimeout: 500 })
  const port = await listen(server)
  const told = once(server, 'shed')
  const caller = call(t, port)
  await once(caller.socket, 'connect')
  const { localPort: remotePort } = caller.socket
  await t.throwsAsync(caller.answer(), { code: 'ECONNRESET' })
  const [info]: ShedInfo[] = await told
  t.like(info, { reason: 'timeout', remoteAddress: '127.0.0.1', remotePort, localPort: port })
  t.true((info?.waited ?? 0) >= 500)
  t.like(server.stats(), { accepted: 1, shed: 1, queued: 0, handedOff: 0 })
})

test('drain() stops accepting, finishes queue and leases, and says that it is complete', async (t) => {
  const { server, reports, port } = await serve(t, 'one-at-a-time')
  const held = call(t, port)
  await reports.next('connection')
  const waiting = call(t, port)
  await until(() => server.stats().queued === 1)
  const drained = server.drain()
  await until(() => refuses(port))
  held.say('one')
  waiting.say('two')
  t.regex(await held.answer(), /one$/)
  t.regex(await waiting.answer(), /two$/)
  t.deepEqual(await drained, { complete: true, queued: 0, leases: 0 })
  t.deepEqual(await server.drain(), { complete: true, queued: 0, leases: 0 })
})

test('a drain whose time is up says what is left, cuts nothing, and can be waited for again', async (t) => {
  const { server, reports, port } = await serve(t, 'one-at-a-time')
  const held = call(t, port)
  await reports.next('connection')
  const waiting = call(t, port)
  await until(() => server.stats().queued === 1)
  t.deepEqual(await server.drain({ timeout: 30 }), { complete: false, queued: 1, leases: 1 })
  t.deepEqual(await server.drain({ timeout: 0 }), { complete: false, queued: 1, leases: 1 })
  held.say('one')
  t.regex(await held.answer(), /one$/)
  waiting.say('two')
  const both = await Promise.all([server.drain(), server.drain({ timeout: 20_000 })])
  t.deepEqual(both, Array(2).fill({ complete: true, queued: 0, leases: 0 }))
  t.regex(await waiting.answer(), /two$/)
})

test('close() drains, has the workers exit, and tells once', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'one-at-a-time', { workers: 2 })
  const held = call(t, port)
  await reports.next('connection')
  const workers = pool.workers
  let closes = 0
  server.on('close', () => {
    closes += 1
  })
  const closed = server.close()
  t.is(server.close(), closed)
  held.say('words')
  t.regex(await held.answer(), /words$/)
  await within(closed, 'close()')
  t.deepEqual(
    workers.map(({ state, process }) => [state, process.exitCode]),
    [
      ['exited', 0],
      ['exited', 0],
    ],
  )
  t.is(closes, 1)
  t.like(server.stats(), { workers: 0, leases: 0, queued: 0 })
})

test('close() ends a worker that does not finish in time', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'one-at-a-time', { server: { killTimeout: 50 } })
  const held = call(t, port)
  await reports.next('connection')
  const [worker] = pool.workers
  await within(server.close({ timeout: 50 }), 'close()')
  t.is(worker?.state, 'exited')
  t.is(await held.answer().catch(({ code }) => (code === 'ECONNRESET' ? '' : code)), '')
})

test('destroy() ends what waits and what is held, and kills the workers, now', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'one-at-a-time')
  const held = call(t, port)
  await reports.next('connection')
  const waiting = call(t, port)
  await until(() => server.stats().queued === 1)
  const [worker] = pool.workers
  const closed = once(server, 'close')
  server.destroy()
  server.destroy()
  await within(closed, 'the close event')
  t.is(worker?.process.signalCode, 'SIGKILL')
  for (const caller of [held, waiting]) {
    t.is(await caller.answer().catch(({ code }) => (code === 'ECONNRESET' ? '' : code)), '')
  }
  await t.throwsAsync(ask(port), { code: 'ECONNREFUSED' })
})

test('destroy() resets what waits, counts it and tells of it', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const callers = [call(t, port), call(t, port), call(t, port)]
  await until(() => server.stats().queued === 3)
  const told: ShedInfo[] = []
  server.on('shed', (info) => told.push(info))
  server.destroy()
  for (const caller of callers) await t.throwsAsync(caller.answer(), { code: 'ECONNRESET' })
  t.deepEqual(
    told.map(({ id, reason, localPort }) => ({ id, reason, localPort })),
    [1, 2, 3].map((id) => ({ id, reason: 'destroyed', localPort: port })),
  )
  t.like(server.stats(), { accepted: 3, shed: 3, queued: 0 })
})

test('destroy() overtakes a close() that waits', async (t) => {
  const { server, reports, port } = await serve(t, 'one-at-a-time')
  call(t, port)
  await reports.next('connection')
  const closed = server.close({ timeout: 60_000 })
  server.destroy()
  await within(closed, 'close() after destroy()')
  t.pass()
})

test('a server is an async disposable', async (t) => {
  const server = createServer()
  const port = await listen(server)
  const pool = server.fork(fixture('hello'), { workers: 1 })
  const [worker] = pool.workers
  await pool.ready
  t.regex(await ask(port), /"pid"/)
  await server[Symbol.asyncDispose]()
  t.is(worker?.state, 'exited')
  await t.throwsAsync(ask(port), { code: 'ECONNREFUSED' })
})

const IDLE: readonly { does: string[]; exits: boolean; what: string }[] = [
  { does: [], exits: true, what: 'has a server that does nothing yet exits' },
  { does: ['listen'], exits: false, what: 'listens stays' },
  { does: ['fork'], exits: false, what: 'has a worker stays' },
  { does: ['listen', 'unref'], exits: true, what: 'listens without a reference exits' },
  { does: ['listen', 'fork', 'unref'], exits: true, what: 'has nothing but what is not referenced exits' },
  { does: ['unref first', 'listen'], exits: true, what: 'was not referenced before it listened exits' },
  { does: ['listen', 'fork', 'unref', 'ref'], exits: false, what: 'is referenced again stays' },
  { does: ['listen', 'fork', 'close'], exits: true, what: 'has closed its server exits' },
]

for (const { does, exits, what } of IDLE) {
  test(`a process that ${what}`, async (t) => {
    const program = run(t, 'parent-of-nothing', { args: does })
    t.is(await program.line(), 'idle')
    if (exits) {
      t.is(await program.exit(), 0)
    } else {
      // That nothing happens cannot be waited for: an exit would take some milliseconds.
      await delay(200)
      t.is(program.process.exitCode, null)
    }
  })
}
