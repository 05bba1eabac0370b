import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { call } from '../helpers/caller.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

test('stats() is a snapshot of growing counters, queued connections and leases', async (t) => {
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
    routed: {},
  })
  const callers = [call(t, port).send('a'), call(t, port).send('b')]
  await until(() => server.stats().queued === 2)
  await delay(20)
  forkFixture(server, 'echo')
  for (const caller of callers) await caller.receives(callers.indexOf(caller) === 0 ? 'a' : 'b')
  const second = server.stats()
  t.like(second, { accepted: 2, handedOff: 2, queued: 0, maxQueued: 2, leases: 2, workers: 1, requeued: 0, shed: 0 })
  const { p50, p99, max } = second.waitMs
  t.true(p50 >= 20 && p99 >= p50 && max >= p99, JSON.stringify(second.waitMs))
  t.like(first, { accepted: 0, queued: 0 }, 'an earlier snapshot does not change')
  for (const caller of callers) caller.disconnect()
  await until(() => server.stats().leases === 0)
  t.like(server.stats(), { accepted: 2, handedOff: 2, maxQueued: 2 })
})
