import test from 'ava'
import { ask, type Caller, call } from '../helpers/caller.js'
import { forkFixture, listen, serve, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

test('a client can send before any worker is ready and is answered as soon as one is', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const caller = call(t, port).send('early')
  await until(() => server.stats().queued === 1)
  t.is(caller.received, '')
  forkFixture(server, 'echo')
  await caller.receives('early')
  t.like(server.stats(), { accepted: 1, handedOff: 1, queued: 0 })
})

test('all workers take connections from one queue in the order of arrival', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const callers: Caller[] = []
  for (let i = 0; i < 9; i++) {
    callers.push(call(t, port))
    await until(() => server.stats().accepted === i + 1)
  }
  const { reports } = forkFixture(server, 'one-at-a-time', { workers: 3 })
  await until(() => reports.count('connection') === 3)
  // Each worker that has answered must continue with the connection that has waited longest.
  const ids: number[] = []
  for (const caller of [2, 0, 3, 1, 4, 5, 6, 7, 8]) {
    ids.push(Number.parseInt((await callers[caller]?.send('next').answer()) ?? '', 10))
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

test('a worker that takes one connection at a time gets the next only when it asks again', async (t) => {
  const { server, reports, port } = await serve(t, 'one-at-a-time')
  const first = call(t, port)
  await reports.next('connection')
  const second = call(t, port).send('second')
  await until(() => server.stats().queued === 1)
  t.is(reports.count('connection'), 1)
  t.like(server.stats(), { leases: 1, handedOff: 1 })
  first.send('first')
  t.regex(await first.answer(), /first$/)
  t.regex(await second.answer(), /second$/)
  t.is(reports.count('connection'), 2)
})

test('a worker that does not ask again gets no further connection', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'accept-on-command')
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
