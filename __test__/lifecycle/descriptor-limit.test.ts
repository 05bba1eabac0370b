import { setTimeout as delay } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { linuxTest, loadTest } from '../helpers/conditional-test.js'
import { assertClean, Load } from '../helpers/load.js'
import { limitedNode } from '../helpers/open-file-limit.js'
import { startParent } from '../helpers/parent.js'
import { descriptors, processorTime } from '../helpers/processes.js'
import { run } from '../helpers/program.js'
import { serve } from '../helpers/served.js'
import { until } from '../helpers/until.js'

loadTest('a parent without free descriptors reports it once, waits without spinning, and recovers', async (t) => {
  const parent = await startParent(t, { fixture: 'answer-tokens-on-go', openFiles: 64, env: { CONCURRENCY: '4' } })
  const clients = new Load(t, parent.port, { connections: 200, clients: 200, timeout: 30_000 })
  await until(() => parent.errors.length > 0)
  await assertIdle(t, [parent.pid])
  const { paused: isStarved } = await parent.stats()
  t.true(isStarved)

  parent.go()
  assertClean(t, await clients.report)
  await until(async () => !(await parent.stats()).paused)
  const { accepted, handedOff, shed, acceptErrors } = await parent.stats()
  t.deepEqual({ accepted, handedOff, shed }, { accepted: 200, handedOff: 200, shed: 0 })
  t.deepEqual(Object.keys(acceptErrors), ['EMFILE'])
  t.deepEqual(parent.errors, [`accept EMFILE: too many open files 127.0.0.1:${parent.port}`])
  parent.program.process.kill('SIGTERM')
  t.is(await parent.program.exit(), 0)
})

loadTest('a worker without free descriptors is reported once, waits without spinning, and recovers', async (t) => {
  const { command, args } = limitedNode(64)
  const { server, pool, reports, port } = await serve(t, 'hold-until-command', { execPath: command, execArgv: args })
  const errors: string[] = []
  server.on('error', ({ message }) => errors.push(message))
  const [worker] = pool.workers
  const pid = worker?.pid ?? 0
  const clients = new Load(t, port, { connections: 200, clients: 200, timeout: 30_000 })
  await until(() => server.stats().accepted === 200)
  await until(() => descriptors(pid) >= 63)
  await until(() => reports.count('held') === server.stats().leases)
  await assertIdle(t, [pid])

  worker?.process.send('release')
  assertClean(t, await clients.report)
  await until(() => server.stats().leases === 0)
  const { accepted, handedOff, shed } = server.stats()
  t.deepEqual({ accepted, handedOff, shed }, { accepted: 200, handedOff: 200, shed: 0 })
  t.deepEqual(errors, [`recvmsg EMFILE: too many open files in worker 1 (pid ${pid}), which cannot take connections`])
})

loadTest('connections that a worker without free descriptors cannot take go to another worker', async (t) => {
  const { command, args } = limitedNode(64)
  const { server, pool, port } = await serve(t, 'hold-until-command', { execPath: command, execArgv: args })
  server.on('error', () => {})
  const clients = new Load(t, port, { connections: 200, clients: 200, timeout: 30_000 })
  await until(() => server.stats().accepted === 200)
  await until(() => descriptors(pool.workers[0]?.pid ?? 0) >= 63)
  server.fork(require.resolve('../fixtures/answer-tokens.js'), { workers: 1 })
  // `queued` is 0 also while connections are in flight to the worker that cannot take them.
  await until(() => server.stats().handedOff === 200)
  pool.workers[0]?.process.send('release')
  const report = await clients.report
  assertClean(t, report)
  t.true(
    Object.values(report.workers).some((answers) => answers >= 150),
    JSON.stringify(report.workers),
  )
})

// A start needs 2 descriptors for the channel and 4 for the process: with 4 left, Node reports the failure.
linuxTest('a parent that cannot start a worker without free descriptors reports it and continues', async (t) => {
  const parent = run(t, 'reload-at-descriptor-limit', { args: ['0', '4'], openFiles: 128 })
  const emfile = { name: 'SocketServerError', code: 'EMFILE', errno: -24 }
  t.like(await parent.json(), { ...emfile, syscall: 'epoll_create1' })
  const channel = { ...emfile, syscall: 'socketpair', message: 'socketpair EMFILE: too many open files' }
  t.deepEqual(await parent.json(), channel)
  t.like(await parent.json(), { name: 'SocketServerError', code: 'ERR_SOCKETSERVER_WORKER_EXITED' })
  t.is(await parent.line(), 'ready')
  t.is(await parent.exit(), 0)
})

/**
 * Measures processor time for a while. A process that spins uses all of it; one that retries ten times a second uses almost
 * none.
 */
async function assertIdle(t: ExecutionContext, pids: number[]): Promise<void> {
  const before = pids.map(processorTime)
  await delay(OBSERVED)
  const used = pids.map((pid, index) => processorTime(pid) - (before[index] ?? 0))
  t.true(
    used.every((time) => time <= OBSERVED / 10),
    `${used} ms of ${OBSERVED} ms`,
  )
  t.log(`${used} ms of processor time in ${OBSERVED} ms`)
}

const OBSERVED = 1000
