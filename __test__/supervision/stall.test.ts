import type { Server, StallInfo } from '@socketserver/node'
import test from 'ava'
import { ask, type Caller, call } from '../helpers/caller.js'
import { serve, startThreads } from '../helpers/served.js'
import { until } from '../helpers/until.js'

function stallsOf(server: Server): (StallInfo & { id: number })[] {
  const stalls: (StallInfo & { id: number })[] = []
  server.on('stall', ({ id }, info) => stalls.push({ id, ...info }))
  return stalls
}

for (const [kind, start] of [
  ['process', serve],
  ['thread', startThreads],
] as const) {
  test(`a ${kind} with a blocked event loop emits stall once, with its leases`, async (t) => {
    const options = { workers: 2, stallTimeout: 300, env: { ...process.env, BLOCK: '1500' } }
    const { server, pool, reports, port } = await start(t, 'block-when-told', options)
    const stalls = stallsOf(server)
    const [stuck] = pool.workers
    const held: Caller[] = []
    await until(() => {
      held.push(call(t, port))
      return stuck?.leases !== 0
    })
    await until(() => server.stats().leases === held.length)
    const holds = stuck?.leases
    const began = performance.now()
    stuck?.process?.send('block')
    stuck?.thread?.postMessage('block')
    await until(() => stalls.length === 1)
    t.true(performance.now() - began >= 250)
    const [{ id, leases, stalledFor } = { id: 0, leases: 0, stalledFor: 0 }] = stalls
    t.deepEqual({ id, leases }, { id: stuck?.id, leases: holds })
    t.true(stalledFor >= 300)
    t.regex(await ask(port, 'meanwhile\n'), /meanwhile/)
    await reports.next('unblocked')
    for (const caller of held) t.regex(await caller.say('late\n').answer(), /late/)
    t.is(stalls.length, 1)
    t.is(server.stats().stalls, 1)
    t.is(stuck?.state, 'ready', 'the worker is not replaced')
  })
}

test('with replaceStalled, a worker with a blocked event loop is replaced and ended by its timeouts', async (t) => {
  const times = { stallTimeout: 200, drainTimeout: 200, killTimeout: 100 }
  const env = { ...process.env, BLOCK: '60000' }
  const { server, pool, port } = await serve(t, 'block-when-told', { workers: 1, replaceStalled: true, ...times, env })
  const held = call(t, port)
  await until(() => pool.workers[0]?.leases === 1)
  const [stuck] = pool.workers
  stuck?.process.send('block')
  await until(() => stuck?.state === 'exited')
  t.is(await held.answer().catch(() => ''), '')
  t.is(server.stats().cut, 1)
  t.regex(await ask(port, 'after\n'), /after/)
  t.is(pool.workers.length, 1)
})

test('neither a busy worker nor a worker of a blocked parent counts as stalled', async (t) => {
  const { server, pool, port } = await serve(t, 'answer-tokens', { workers: 1, stallTimeout: 200 })
  const stalls = stallsOf(server)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600)
  const began = performance.now()
  await until(async () => {
    await ask(port, 'token\n')
    return performance.now() - began > 800
  })
  t.deepEqual(stalls, [])
  t.is(pool.workers[0]?.state, 'ready')
})
