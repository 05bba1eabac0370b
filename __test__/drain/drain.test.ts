import { once } from 'node:events'
import { connect } from 'node:net'
import { ask, call } from '../helpers/caller.js'
import { linuxTest, loadTest } from '../helpers/conditional-test.js'
import { Load } from '../helpers/load.js'
import { isRunning } from '../helpers/processes.js'
import { forkFixture, listen, serve, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

linuxTest('clients in the backlog are answered when a drain begins, and later clients are refused', async (t) => {
  const server = startServer(t, { maxQueue: 4 })
  const port = await listen(server)
  const { pool } = forkFixture(server, 'answer-tokens-on-go')
  await pool.ready
  const callers = Array.from({ length: 60 }, (_, index) => call(t, port).send(`token-${index}\n`))
  await Promise.all(callers.map(({ socket }) => once(socket, 'connect')))
  await until(() => server.stats().queued === 4)
  t.is(server.stats().accepted, 4)

  const drained = server.drain({ timeout: 20_000 })
  const [worker] = pool.workers
  worker?.process.send('go')
  for (const [index, caller] of callers.entries()) t.is(await caller.answer(), `${worker?.pid} token-${index}\n`)
  t.deepEqual(await drained, { complete: true, queued: 0, leases: 0 })
  const error = await new Promise((resolve) => connect(port, '127.0.0.1').once('error', resolve))
  t.is(Object(error).code, 'ECONNREFUSED')
})

loadTest('every connection accepted before a drain under load is answered', async (t) => {
  const { server, port } = await serve(t, 'answer-tokens', { workers: 2, env: { ...process.env, DELAY: '5' } })
  const run = new Load(t, port, { connections: 5000, clients: 100, sources: 4 })
  await until(() => server.stats().accepted > 1500)
  const { complete } = await server.drain()
  t.true(complete)
  const { accepted, handedOff, shed } = server.stats()
  const { outcomes, total } = await run.report
  t.is(outcomes.ok, accepted)
  t.deepEqual({ handedOff, shed }, { handedOff: accepted, shed: 0 })
  // The kernel resets connections that reach the listener between its last accept and its close, as with any server.
  t.is(outcomes.ok + outcomes.refused + outcomes.reset, total)
  t.log(`${outcomes.ok} answered, ${outcomes.refused} refused, ${outcomes.reset} reset by the closing listener`)
})

loadTest('close() under load loses no connection and leaves no process', async (t) => {
  const { server, pool, port } = await serve(t, 'answer-tokens', { workers: 3 })
  const pids = pool.workers.map(({ pid }) => pid ?? 0)
  const exits: unknown[] = []
  server.on('exit', (_worker, code, signal) => exits.push(code ?? signal))
  const run = new Load(t, port, { connections: 20_000, clients: 64, sources: 4 })
  await until(() => server.stats().accepted > 2000)
  await server.close()
  t.false(pids.some(isRunning))
  t.deepEqual(exits, [0, 0, 0])
  const { accepted, handedOff } = server.stats()
  const { outcomes, total } = await run.report
  t.is(outcomes.ok, accepted)
  t.is(handedOff, accepted)
  t.is(outcomes.ok + outcomes.refused + outcomes.reset, total)
})

linuxTest('a drain that times out cuts nothing', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'hold-until-command')
  const answer = ask(port, 'token\n')
  await reports.next('held')
  t.deepEqual(await server.drain({ timeout: 50 }), { complete: false, queued: 0, leases: 1 })
  const [worker] = pool.workers
  worker?.process.send('release')
  t.is(await answer, `${worker?.pid} token\n`)
  t.true((await server.drain()).complete)
})

loadTest('destroy() under load ends everything at once', async (t) => {
  const { server, pool, port } = await serve(t, 'answer-tokens', {
    workers: 3,
    env: { ...process.env, DELAY: '50' },
    server: { killTimeout: 120_000 },
  })
  const pids = pool.workers.map(({ pid }) => pid ?? 0)
  const run = new Load(t, port, { connections: 5000, clients: 100 })
  await until(() => server.stats().accepted > 300)
  const closed = once(server, 'close')
  server.destroy()
  server.destroy()
  await within(closed, 'the close event')
  await server.close()
  t.false(pids.some(isRunning))
  const { outcomes } = await run.report
  t.is(outcomes.timeout + outcomes.wrong + outcomes.doubled, 0)
})
