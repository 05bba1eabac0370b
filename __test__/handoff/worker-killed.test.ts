import { ask } from '../helpers/caller.js'
import { linuxTest, loadTest } from '../helpers/conditional-test.js'
import { assertClean, Load } from '../helpers/load.js'
import { forkFixture, serve } from '../helpers/served.js'
import { countTaken } from '../helpers/taken.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

linuxTest(
  'connections that a killed worker had received but not taken are answered once by other workers',
  async (t) => {
    const { server, pool, reports, port } = await serve(t, 'block-on-command', { restart: false })
    const [victim] = pool.workers
    victim?.process.send('block')
    await reports.next('blocked')

    const answers = Array.from({ length: CLIENTS }, (_, index) => ask(port, `token-${index}\n`))
    // Sent while its event loop is blocked: in flight, and not acked.
    await until(() => server.stats().accepted === CLIENTS && server.stats().queued === 0)
    t.is(server.stats().handedOff, 0)
    victim?.process.kill('SIGKILL')
    const { pool: others, reports: counts } = forkFixture(server, 'answer-tokens', { workers: 2 })

    const lines = await Promise.all(answers)
    const pids = others.workers.map(({ pid }) => pid)
    lines.forEach((line, index) => {
      const [pid, token] = line.trim().split(' ')
      t.true(pids.includes(Number(pid)))
      t.is(token, `token-${index}`)
    })
    await until(() => server.stats().leases === 0)
    const { accepted, handedOff, requeued } = server.stats()
    t.deepEqual({ accepted, handedOff }, { accepted: CLIENTS, handedOff: CLIENTS })
    t.true(requeued >= CLIENTS)
    t.is(await countTaken(others, counts), CLIENTS)
  },
)

linuxTest('a killed worker loses the connections that it holds and no others', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'hold-until-command', {
    workers: 2,
    restart: false,
    env: { ...process.env, CONCURRENCY: String(CLIENTS / 2) },
  })
  const exit = new Promise((resolve) => {
    server.on('exit', (worker, code, signal) => resolve([worker.pid, code, signal]))
  })
  const answers = Promise.allSettled(Array.from({ length: CLIENTS }, (_, index) => ask(port, `token-${index}\n`)))
  await until(() => reports.count('held') === CLIENTS)
  const [victim, survivor] = pool.workers
  victim?.process.kill('SIGKILL')
  t.deepEqual(await within(exit, 'the exit event'), [victim?.pid, null, 'SIGKILL'])
  survivor?.process.send('release')

  const answered = (await answers).filter(
    (one) => one.status === 'fulfilled' && one.value.startsWith(`${survivor?.pid} `),
  )
  t.is(answered.length, CLIENTS / 2)
  await until(() => server.stats().leases === 0)
})

loadTest(
  'under load, killed workers lose exactly what they had taken, and every other connection is answered once',
  async (t) => {
    const { server, pool, reports, port } = await serve(t, 'answer-tokens', {
      workers: 3,
      restart: false,
      env: { ...process.env, DELAY: '2', CONCURRENCY: '8' },
    })
    const killed: number[] = []
    const run = new Load(t, port, { connections: 12_000, clients: 64, sources: 4 })
    for (let round = 1; round <= KILLS; round++) {
      await until(() => server.stats().accepted > (round * 12_000) / (KILLS + 1))
      const [oldest] = pool.workers
      killed.push(oldest?.pid ?? 0)
      oldest?.process.kill('SIGKILL')
      await until(() => pool.workers.length === 2)
      await pool.resize(3)
    }
    const report = await run.report
    const taken = await countTaken(pool, reports)

    await until(() => server.stats().leases === 0)
    const { accepted, handedOff } = server.stats()
    t.is(accepted, 12_000)
    // Requeued or not, each connection was taken by exactly one worker in the end.
    t.is(handedOff, accepted)
    const takenByKilled = handedOff - taken
    const answeredByKilled = killed.reduce((sum, pid) => sum + (report.workers[pid] ?? 0), 0)
    t.is(report.total - report.outcomes.ok, takenByKilled - answeredByKilled)
    t.is(report.outcomes.ok + report.outcomes.reset + report.outcomes.empty, report.total)
    t.is(report.answered_twice, 0)
    t.log(`${KILLS} workers killed: ${takenByKilled} connections taken by them, ${answeredByKilled} of these answered`)
    if (takenByKilled === answeredByKilled) assertClean(t, report)
  },
)

const CLIENTS = 20
const KILLS = 6
