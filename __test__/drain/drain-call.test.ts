import test from 'ava'
import { call, refuses } from '../helpers/caller.js'
import { serve } from '../helpers/served.js'
import { until } from '../helpers/until.js'

test('drain() stops accepting, finishes queue and leases, and resolves as complete', async (t) => {
  const { server, reports, port } = await serve(t, 'one-at-a-time')
  const held = call(t, port)
  await reports.next('connection')
  const waiting = call(t, port)
  await until(() => server.stats().queued === 1)
  const drained = server.drain()
  await until(() => refuses(port))
  held.send('one')
  waiting.send('two')
  t.regex(await held.answer(), /one$/)
  t.regex(await waiting.answer(), /two$/)
  t.deepEqual(await drained, { complete: true, queued: 0, leases: 0 })
  t.deepEqual(await server.drain(), { complete: true, queued: 0, leases: 0 })
})

test('a drain that times out returns what is left, cuts nothing, and can be awaited again', async (t) => {
  const { server, reports, port } = await serve(t, 'one-at-a-time')
  const held = call(t, port)
  await reports.next('connection')
  const waiting = call(t, port)
  await until(() => server.stats().queued === 1)
  t.deepEqual(await server.drain({ timeout: 30 }), { complete: false, queued: 1, leases: 1 })
  t.deepEqual(await server.drain({ timeout: 0 }), { complete: false, queued: 1, leases: 1 })
  held.send('one')
  t.regex(await held.answer(), /one$/)
  waiting.send('two')
  const both = await Promise.all([server.drain(), server.drain({ timeout: 20_000 })])
  t.deepEqual(both, Array(2).fill({ complete: true, queued: 0, leases: 0 }))
  t.regex(await waiting.answer(), /two$/)
})
