import { ask, call } from '../helpers/caller.js'
import { linuxTest } from '../helpers/conditional-test.js'
import { forkFixture, serve } from '../helpers/served.js'
import { blocking } from '../helpers/unblock.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

linuxTest('connections that a leaving worker has not taken go to other workers', async (t) => {
  const { env, unblock } = blocking(t)
  const { server, pool, reports, port } = await serve(t, 'block-on-command', {
    restart: false,
    env: { ...process.env, ...env },
  })
  const [leaver] = pool.workers
  // A client that has sent nothing yet keeps the worker from exiting.
  const silent = call(t, port)
  await until(() => server.stats().leases === 1)
  leaver?.process.send('leave')
  await reports.next('blocked')
  const answers = Array.from({ length: CLIENTS }, (_, index) => ask(port, `token-${index}\n`))
  await until(() => server.stats().accepted === 1 + CLIENTS && server.stats().queued === 0)
  unblock()
  const { pid, taken } = await reports.next('unblocked')
  t.is(pid, leaver?.pid ?? 0)
  t.is(taken, 1)

  const { pool: others } = forkFixture(server, 'answer-tokens')
  const lines = await Promise.all(answers)
  const [other] = others.workers
  t.deepEqual(
    lines,
    lines.map((_, index) => `${other?.pid} token-${index}\n`),
  )
  t.true(server.stats().requeued >= CLIENTS)
  t.is(await silent.send('at last\n').answer(), `${leaver?.pid} at last\n`)
  await until(() => pool.workers.length === 0)
})

for (const [how, code] of [
  ['exit', 3],
  ['throw', 1],
] as const) {
  linuxTest(`a worker that ends itself loses the connections that it holds and no others (${how})`, async (t) => {
    const { server, pool, reports, port } = await serve(t, 'hold-until-command', {
      workers: 2,
      restart: false,
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      env: { ...process.env, CONCURRENCY: String(CLIENTS / 2) },
    })
    const exit = new Promise((resolve) => {
      server.on('exit', (worker, exitCode, signal) => resolve([worker.pid, exitCode, signal]))
    })
    const answers = Promise.allSettled(Array.from({ length: CLIENTS }, (_, index) => ask(port, `token-${index}\n`)))
    await until(() => reports.count('held') === CLIENTS)
    const [victim, survivor] = pool.workers
    victim?.process.send(how)
    t.deepEqual(await within(exit, 'the exit event'), [victim?.pid, code, null])
    survivor?.process.send('release')

    const from = (await answers).map((one) => (one.status === 'fulfilled' ? one.value.split(' ')[0] : 'nobody'))
    t.is(from.filter((pid) => pid === String(survivor?.pid)).length, CLIENTS / 2)
    await until(() => server.stats().leases === 0)
  })
}

const CLIENTS = 20
