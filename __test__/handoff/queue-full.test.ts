import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { ShedInfo } from '@socketserver/node'
import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { loadSerial } from '../helpers/conditional-test.js'
import { assertClean, Load } from '../helpers/load.js'
import { descriptors } from '../helpers/processes.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

loadSerial(
  'a full queue pauses accepting, and clients in the backlog cost nothing and are answered later',
  async (t) => {
    const server = startServer(t, { maxQueue: 8 })
    const port = await listen(server)
    const run = new Load(t, port, { connections: 300, clients: 300 })
    await until(() => server.stats().paused)
    await until(() => server.stats().queued === 8)
    const before = { descriptors: descriptors(), rss: process.memoryUsage.rss() }
    // During this interval nothing is accepted and nothing grows.
    for (let look = 0; look < 10; look++) {
      await delay(30)
      const { accepted, queued, paused } = server.stats()
      t.deepEqual({ accepted, queued, paused }, { accepted: 8, queued: 8, paused: true })
    }
    await until(() => descriptors() <= before.descriptors)
    t.true(process.memoryUsage.rss() - before.rss < 8 * 1024 * 1024)

    forkFixture(server, 'answer-tokens', { workers: 2, env: { ...process.env, CONCURRENCY: '1' } })
    const report = await run.report
    assertClean(t, report)
    t.is(report.outcomes.ok, 300)
    const { accepted, maxQueued, requeued, shed, paused } = server.stats()
    t.deepEqual({ accepted, shed, paused }, { accepted: 300, shed: 0, paused: false })
    // A recalled connection returns to the queue even if another has been accepted meanwhile.
    t.true(maxQueued >= 8 && maxQueued <= 8 + requeued)
  },
)

test.serial('connections that wait longer than queueTimeout are reset, counted and reported', async (t) => {
  const server = startServer(t, { queueTimeout: 100 })
  const port = await listen(server)
  const shed: { id: number; reason: string; waited: number; localPort: number | undefined }[] = []
  server.on('shed', ({ id, reason, waited, localPort }) => shed.push({ id, reason, waited, localPort }))
  const results = await Promise.allSettled(Array.from({ length: 10 }, () => ask(port)))
  for (const result of results) {
    t.is(result.status === 'rejected' ? result.reason.code : result.value, 'ECONNRESET')
  }
  await until(() => shed.length === 10)
  t.deepEqual(
    shed.map(({ id }) => id).sort((a, b) => a - b),
    Array.from({ length: 10 }, (_, index) => index + 1),
  )
  for (const { reason, waited, localPort } of shed) {
    t.deepEqual({ reason, localPort }, { reason: 'timeout', localPort: port })
    t.true(waited >= 100 && waited < 60_000, `${waited} ms`)
  }
  t.is(server.stats().shed, 10)
  t.is(server.stats().queued, 0)
})

loadSerial(
  'with a full queue and a queueTimeout, each client is either answered or reset, and all are counted',
  async (t) => {
    const server = startServer(t, { maxQueue: 16, queueTimeout: 20 })
    const port = await listen(server)
    const { pool } = forkFixture(server, 'answer-tokens', {
      workers: 2,
      env: { ...process.env, CONCURRENCY: '1', DELAY: '5' },
    })
    await pool.ready
    let emitted = 0
    server.on('shed', () => {
      emitted += 1
    })
    const report = await new Load(t, port, { connections: 1000, clients: 200 }).report
    const { accepted, handedOff, shed } = server.stats()
    const { ok, reset } = report.outcomes
    t.is(ok + reset, 1000)
    t.deepEqual({ handedOff, shed }, { handedOff: ok, shed: reset })
    t.is(accepted, 1000)
    t.true(ok > 0 && reset > 0)
    await until(() => emitted === shed)
    t.log(`${ok} answered, ${reset} shed`)
  },
)

test("the shed event has the client's address and how long the connection waited", async (t) => {
  const server = startServer(t, { queueTimeout: 500 })
  const port = await listen(server)
  const emitted = once(server, 'shed')
  const caller = call(t, port)
  await once(caller.socket, 'connect')
  const { localPort: remotePort } = caller.socket
  await t.throwsAsync(caller.answer(), { code: 'ECONNRESET' })
  const [info]: ShedInfo[] = await emitted
  t.like(info, { reason: 'timeout', remoteAddress: '127.0.0.1', remotePort, localPort: port })
  t.true((info?.waited ?? 0) >= 500)
  t.like(server.stats(), { accepted: 1, shed: 1, queued: 0, handedOff: 0 })
})
