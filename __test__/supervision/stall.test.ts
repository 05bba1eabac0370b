import { setTimeout as delay } from 'node:timers/promises'
import type { Server, StallInfo } from '@socketserver/node'
import test from 'ava'
import { block } from '../helpers/block.js'
import { ask, type Caller, call } from '../helpers/caller.js'
import { serve, startThreads } from '../helpers/served.js'
import { blocking } from '../helpers/unblock.js'
import { until } from '../helpers/until.js'

interface Stall extends StallInfo {
  id: number
  /** Milliseconds since 1970. */
  at: number
}

function stallsOf(server: Server): Stall[] {
  const stalls: Stall[] = []
  server.on('stall', ({ id }, info) => stalls.push({ id, at: Date.now(), ...info }))
  return stalls
}

for (const [kind, start] of [
  ['process', serve],
  ['thread', startThreads],
] as const) {
  test(`a ${kind} with a blocked event loop emits stall once, with its leases`, async (t) => {
    const { env, unblock } = blocking(t)
    const options = { workers: 2, stallTimeout: 500, env: { ...process.env, ...env } }
    const { server, pool, reports, port } = await start(t, 'block-on-command', options)
    const stalls = stallsOf(server)
    const [blocked] = pool.workers
    const held: Caller[] = []
    await until(() => {
      held.push(call(t, port))
      return blocked?.leases !== 0
    })
    await until(() => server.stats().leases === held.length)
    const holds = blocked?.leases
    blocked?.process?.send('block')
    blocked?.thread?.postMessage('block')
    const { at: blockedAt } = await reports.next('blocked')
    // On a busy machine any worker may stall, but this one only once since it is blocked.
    const own = (): Stall[] => stalls.filter(({ id, at }) => id === blocked?.id && at >= Number(blockedAt))
    await until(() => own().length > 0)
    t.like(own()[0], { leases: holds })
    t.true((own()[0]?.stalledFor ?? 0) >= 500)
    t.regex(await ask(port, 'meanwhile\n'), /meanwhile/)
    // Long enough for a second event, which must not come.
    await delay(1000)
    t.is(own().length, 1)
    unblock()
    await reports.next('unblocked')
    for (const caller of held) t.regex(await caller.send('late\n').answer(), /late/)
    t.is(server.stats().stalls, stalls.length)
    t.is(blocked?.state, 'ready', 'the worker is not replaced')
  })
}

test('with replaceStalled, a worker with a blocked event loop is replaced and ended by its timeouts', async (t) => {
  const times = { stallTimeout: 500, drainTimeout: 200, killTimeout: 100 }
  const { server, pool, port } = await serve(t, 'block-on-command', { workers: 1, replaceStalled: true, ...times })
  const held = call(t, port)
  await until(() => pool.workers[0]?.leases === 1)
  const [blocked] = pool.workers
  blocked?.process.send('block')
  await until(() => blocked?.state === 'exited')
  t.is(await held.answer().catch(() => ''), '')
  t.is(server.stats().cut, 1)
  t.regex(await ask(port, 'after\n'), /after/)
  await until(() => pool.workers.length === 1)
})

test('neither a busy worker nor a worker of a blocked parent counts as stalled', async (t) => {
  const { server, pool, port } = await serve(t, 'answer-tokens', { workers: 1, stallTimeout: 1000 })
  const stalls = stallsOf(server)
  block(1500)
  const began = performance.now()
  await until(async () => {
    await ask(port, 'token\n')
    return performance.now() - began > 1500
  })
  t.deepEqual(stalls, [])
  t.is(pool.workers[0]?.state, 'ready')
})
