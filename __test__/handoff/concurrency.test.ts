import test from 'ava'
import { type Caller, call } from '../helpers/caller.js'
import { serve } from '../helpers/served.js'
import { until } from '../helpers/until.js'

test('a worker never has more leases than its concurrency', async (t) => {
  const { server, reports, port } = await serve(t, 'echo-with-concurrency', { args: ['2'] })
  const callers = Array.from({ length: 6 }, () => call(t, port).send('a'))
  await until(() => server.stats().queued === 4)
  for (let over = 1; over <= 6; over++) {
    await until(() => answered(callers).length > 0)
    answered(callers)[0]?.disconnect()
    await until(() => server.stats().handedOff === Math.min(6, 2 + over))
  }
  await until(() => reports.count('connection') === 6)
  t.is(Math.max(...reports.all.map(({ leases }) => Number(leases))), 2)
})

test('raising the concurrency asks for more connections at once', async (t) => {
  const { server, pool, port } = await serve(t, 'echo-with-concurrency', { args: ['1'] })
  for (let i = 0; i < 5; i++) call(t, port)
  await until(() => server.stats().queued === 4)
  pool.workers[0]?.process.send('to 3')
  await until(() => server.stats().handedOff === 3)
  t.is(server.stats().queued, 2)
  pool.workers[0]?.process.send('to Infinity')
  await until(() => server.stats().handedOff === 5)
})

test('lowering the concurrency cuts no connection and takes effect as leases end', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'echo-with-concurrency', { args: ['3'] })
  const callers = Array.from({ length: 5 }, () => call(t, port).send('a'))
  await until(() => answered(callers).length === 3)
  pool.workers[0]?.process.send('to 1')
  await reports.next('to 1')
  for (const caller of answered(callers).slice(0, 2)) caller.disconnect()
  await until(() => server.stats().leases === 1)
  t.like(server.stats(), { handedOff: 3, queued: 2 })
  answered(callers)[0]?.disconnect()
  await until(() => reports.count('connection') === 4)
  t.like(server.stats(), { leases: 1, queued: 1 })
  t.is(reports.all.at(-1)?.['leases'], 1)
})

test('serve() takes no more connections than its concurrency', async (t) => {
  const { server, reports, port } = await serve(t, 'serve-limited')
  t.like(await reports.next('served'), { concurrency: 2 })
  const callers = Array.from({ length: 4 }, () => call(t, port).send('a'))
  await until(() => server.stats().queued === 2)
  await until(() => reports.count('connection') === 2)
  for (const caller of callers) {
    await caller.receives('a')
    caller.disconnect()
  }
  await until(() => server.stats().leases === 0)
  t.is(server.stats().handedOff, 4)
})

test('connections that a busy worker cannot take go to a worker with free credit', async (t) => {
  const { server, pool, port } = await serve(t, 'echo-with-concurrency', { args: ['2'], workers: 3 })
  const callers = Array.from({ length: 7 }, () => call(t, port))
  await until(() => server.stats().handedOff === 6)
  t.is(server.stats().queued, 1)
  t.deepEqual(
    pool.workers.map(({ leases }) => leases),
    [2, 2, 2],
  )
  for (const caller of callers) caller.disconnect()
})

/** Returns the clients that have received something and have not disconnected. */
function answered(callers: readonly Caller[]): Caller[] {
  return callers.filter(({ received, socket }) => received !== '' && !socket.destroyed)
}
