// The application's shutdown handlers in a worker run after the drain, even if only the parent gets a signal.

import { once } from 'node:events'
import test from 'ava'
import { call } from '../helpers/caller.js'
import { linuxTest, loadTest } from '../helpers/conditional-test.js'
import { fetchOnce } from '../helpers/http.js'
import { Load } from '../helpers/load.js'
import { startParent } from '../helpers/parent.js'
import { isRunning } from '../helpers/processes.js'
import { run } from '../helpers/program.js'
import { forkFixture, listen, serve, startServer, startThreads } from '../helpers/served.js'
import { until } from '../helpers/until.js'

/** Longer than any test, so that no step is caused by this timeout. */
const NEVER = 120_000

const APPLICATIONS = {
  nest: ['onModuleDestroy', 'onApplicationShutdown SIGTERM'],
  terminus: ['onSignal', 'onShutdown'],
}

for (const [name, hooks] of Object.entries(APPLICATIONS)) {
  loadTest(`the shutdown hooks of ${name} run after the drain when the parent alone gets SIGTERM`, async (t) => {
    const parent = run(t, 'parent-with-signals-option', { args: [`app-${name}`], env: { KILL: '10000' } })
    const { port, pids }: { port: number; pids: number[] } = JSON.parse(await parent.line())
    const load = new Load(t, port, { connections: 20_000, clients: 16, body: 200 }, 'http')
    for (let i = 0; i < 20; i++) await fetchOnce(port, { method: 'POST', path: '/token', body: 'token\n' })
    const slow = fetchOnce(port, { path: '/slow' })
    await until(() => parent.lines.some((line) => line.endsWith(' is asked')))
    parent.process.kill('SIGTERM')
    t.like(await slow, { status: 200, body: 'slow' })
    // The exit code 1 would mean that connections were cut.
    t.is(await parent.exit(), 0)
    t.false(pids.some(isRunning))
    for (const pid of pids) {
      const said = parent.lines.filter((line) => line.startsWith(`${pid} `) && !line.endsWith(' is asked'))
      const shutdown = hooks.map((hook) => `${pid} ${hook}`)
      t.deepEqual(said, said[0] === `${pid} answers` ? [`${pid} answers`, ...shutdown] : shutdown)
    }
    t.is(parent.lines.filter((line) => line.endsWith(' answers')).length, 1)
    const { outcomes, total } = await load.report
    t.true(outcomes.ok > 0, JSON.stringify(outcomes))
    // The kernel resets connections that reach the listener between its last accept and its close.
    t.is(outcomes.ok + outcomes.refused + outcomes.reset, total, JSON.stringify(outcomes))
  })
}

test('a worker with an open database closes it in its SIGTERM handler, after its last connection', async (t) => {
  const { pool, reports, port } = await serve(t, 'close-database', { killTimeout: NEVER, drainTimeout: NEVER })
  const [worker] = pool.workers
  const held = call(t, port).send('held')
  await held.receives('held')
  const reloaded = pool.reload()
  await until(() => worker?.state === 'draining')
  held.send(' on')
  await held.receives('held on')
  t.is(reports.count('closes'), 0)
  held.disconnect()
  t.like(await reports.next('closes'), { pid: worker?.pid, signal: 'SIGTERM', leases: 0 })
  await reloaded
  t.is(worker?.process.exitCode, 0)
  t.is(reports.count('closes'), 1)
})

test('a thread with an open database closes it when its client has closed', async (t) => {
  const { pool, reports } = await startThreads(t, 'close-database', { killTimeout: NEVER, drainTimeout: NEVER })
  await pool.reload()
  t.like(await reports.next('closes'), { leases: 0 })
})

test('a worker that exceeds drainTimeout gets SIGTERM for its handler after its connections have been cut', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'close-database', { killTimeout: NEVER, drainTimeout: 100 })
  const cut = once(server, 'cut')
  const [worker] = pool.workers
  const held = call(t, port).send('held')
  await held.receives('held')
  await pool.resize(0)
  t.like(await cut, [{ id: worker?.id }, { connections: 1, reason: 'timeout' }])
  t.like(await reports.next('closes'), { signal: 'SIGTERM', leases: 0 })
  t.is(reports.count('closes'), 1)
  t.is(worker?.process.exitCode, 0)
})

test('a worker with clients of two ports gets SIGTERM after the last connection of both', async (t) => {
  const server = startServer(t)
  const ports = [await listen(server), await listen(server)]
  const options = { args: ports.map(String), killTimeout: NEVER, drainTimeout: NEVER }
  const { pool, reports } = forkFixture(server, 'close-database', options)
  await pool.ready
  const [first, second] = ports.map((port) => call(t, port).send('held'))
  await first?.receives('held')
  await second?.receives('held')
  const resized = pool.resize(0)
  first?.disconnect()
  await until(() => server.stats().leases === 1)
  second?.send(' on')
  await second?.receives('held on')
  t.is(reports.count('closes'), 0)
  second?.disconnect()
  await resized
  t.like(await reports.next('closes'), { leases: 0 })
})

test('a worker without a SIGTERM handler finishes its work and exits by itself', async (t) => {
  const { pool, reports } = await serve(t, 'work-after-close', { killTimeout: NEVER })
  const [worker] = pool.workers
  await pool.close()
  t.is(reports.count('worked'), 1)
  t.is(worker?.process.exitCode, 0)
})

linuxTest('a worker whose parent has died runs its SIGTERM handler after its last connection', async (t) => {
  const parent = await startParent(t, { fixture: 'close-database' })
  const held = call(t, parent.port).send('held')
  await held.receives('held')
  parent.program.process.kill('SIGKILL')
  await parent.program.exit()
  held.send(' on')
  await held.receives('held on')
  held.disconnect()
  await until(() => parent.program.lines.includes('closes its database, holds 0'))
  await t.notThrowsAsync(until(() => !parent.workers.some(isRunning)))
})
