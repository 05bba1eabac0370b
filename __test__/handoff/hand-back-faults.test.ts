import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { linuxTest, loadTest } from '../helpers/conditional-test.js'
import { assertClean, Load } from '../helpers/load.js'
import { startParent } from '../helpers/parent.js'
import { descriptors } from '../helpers/processes.js'
import { forkFixture, listen, serve, startServer, startThreads } from '../helpers/served.js'
import { until } from '../helpers/until.js'

for (const pool of ['processes', 'threads'] as const) {
  loadTest(`under load, each connection that is handed back is answered once (${pool})`, async (t) => {
    const start = pool === 'processes' ? serve : startThreads
    const { server, port } = await start(t, 'hand-back-every-third', { workers: 3 })
    const before = descriptors()
    const run = new Load(t, port, { connections: 6000, clients: 32, sources: 4 })
    assertClean(t, await run.report)
    await until(() => server.stats().leases === 0)
    const { accepted, handedOff, handedBack, shed } = server.stats()
    t.deepEqual({ accepted, shed }, { accepted: 6000, shed: 0 })
    t.true(handedBack > 600, `${handedBack} were handed back`)
    t.is(handedOff, accepted + handedBack)
    await until(() => descriptors() <= before)
    t.log(`${handedBack} of 6000 were handed back`)
  })
}

loadTest(
  'workers that are killed while they hand back lose no more connections than they hold, and none is answered twice',
  async (t) => {
    const { server, pool, port } = await serve(t, 'hand-back-every-third', { workers: 3, restart: false })
    const run = new Load(t, port, { connections: 12_000, clients: 64, sources: 4 })
    for (let round = 1; round <= KILLS; round++) {
      await until(() => server.stats().accepted > (round * 12_000) / (KILLS + 1))
      pool.workers[0]?.process.kill('SIGKILL')
      await until(() => pool.workers.length === 2)
      await pool.resize(3)
    }
    const report = await run.report
    await until(() => server.stats().leases === 0)
    const { accepted, handedOff, handedBack, queued, cut } = server.stats()
    t.deepEqual({ accepted, queued }, { accepted: 12_000, queued: 0 })
    t.is(handedOff, accepted + handedBack)
    t.is(report.answered_twice, 0)
    t.is(report.outcomes.ok + report.outcomes.reset + report.outcomes.empty, report.total)
    const lost = report.total - report.outcomes.ok
    t.true(lost <= cut, `${lost} were not answered, ${cut} were cut`)
    t.log(`${KILLS} workers killed, ${handedBack} handed back, ${lost} not answered`)
  },
)

linuxTest(
  'a connection that was in flight to the parent when its worker died is answered by another worker',
  async (t) => {
    const server = startServer(t)
    const port = await listen(server)
    const { reports } = forkFixture(server, 'hand-back-and-die', { restart: false })
    const caller = call(t, port).send('word\n')
    const exit = new Promise((resolve) => server.once('exit', (_worker, _code, signal) => resolve(signal)))
    t.is(await exit, 'SIGKILL')
    t.is(reports.count('handed back'), 0)
    const { pool } = forkFixture(server, 'answer-tokens')
    t.is(await caller.answer(), `${pool.workers[0]?.pid} word\n`)
    const { handedBack, handedOff, cut } = server.stats()
    t.deepEqual({ handedBack, handedOff, cut }, { handedBack: 1, handedOff: 2, cut: 0 })
  },
)

linuxTest('a worker whose parent has died keeps the connection and can use it', async (t) => {
  const parent = await startParent(t, { fixture: 'hand-back-after-server-death' })
  const caller = call(t, parent.port)
  await until(() => parent.program.lines.includes('held'))
  parent.program.process.kill('SIGKILL')
  t.is(await caller.answer(), 'ERR_SOCKETSERVER_CONNECTION_LOST, and still here')
})

test('a connection that is handed back after queueTimeout is shed, because its age counts from accept', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'hand-back-after-use', {
    server: { queueTimeout: 1000 },
    env: { ...process.env, DELAY: '1000' },
  })
  const shed = new Promise((resolve) => server.once('shed', resolve))
  pool.workers[0]?.process.send('later, untouched')
  await reports.next('asked')
  await t.throwsAsync(ask(port, ''), { code: 'ECONNRESET' })
  t.like(await reports.next('tried'), { code: 'none' })
  t.like(await shed, { id: 1, reason: 'timeout' })
})

const KILLS = 4
