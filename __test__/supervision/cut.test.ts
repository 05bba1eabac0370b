import type { CutInfo, Server } from '@socketserver/node'
import test from 'ava'
import { type Caller, call } from '../helpers/caller.js'
import { serve, startThreads } from '../helpers/served.js'
import { until } from '../helpers/until.js'

interface Cut extends CutInfo {
  worker: number
}

function cutsOf(server: Server): Cut[] {
  const cuts: Cut[] = []
  server.on('cut', ({ id }, info) => cuts.push({ worker: id, ...info }))
  return cuts
}

async function isCut(caller: Caller): Promise<boolean> {
  return (await caller.answer().catch(() => '')) === ''
}

test('the cut event of a killed worker counts exactly the connections that it held', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'hold-until-command', { workers: 2 })
  const cuts = cutsOf(server)
  const callers = Array.from({ length: 9 }, () => call(t, port).send('token\n'))
  for (const _ of callers) await reports.next('held')
  const [survivor, victim] = [...pool.workers].sort((a, b) => a.leases - b.leases)
  const held = victim?.leases ?? 0
  t.true(held > 0)
  victim?.process.kill('SIGKILL')
  await until(() => cuts.length === 1)
  t.deepEqual(cuts, [{ worker: victim?.id ?? 0, connections: held, reason: 'exited' }])
  t.is(server.stats().cut, held)
  survivor?.process.send('release')
  const ends = await Promise.all(callers.map(isCut))
  t.is(ends.filter(Boolean).length, held)
  t.is(victim?.handled, held)
})

test('connections that a retired worker does not finish by drainTimeout are cut and reported, and the worker exits by itself', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'hold-until-command', { drainTimeout: 300 })
  const cuts = cutsOf(server)
  const callers = [1, 2, 3].map(() => call(t, port).send('token\n'))
  for (const _ of callers) await reports.next('held')
  const exits: unknown[] = []
  server.on('exit', (_worker, code, signal) => exits.push(code ?? signal))
  let cutAt = 0
  server.on('cut', () => {
    cutAt = performance.now()
  })
  const started = performance.now()
  await pool.resize(0)
  const exitedAt = performance.now()
  t.true(exitedAt - started >= 295)
  await until(() => cuts.length > 0)
  t.deepEqual(cuts, [{ worker: 1, connections: 3, reason: 'timeout' }])
  for (const caller of callers) t.true(await isCut(caller))
  // A worker that gets no CPU time for a quarter of a second gets SIGTERM, as documented.
  const hadNoTime = exitedAt - cutAt >= 240
  t.deepEqual(exits, [hadNoTime && exits[0] === 'SIGTERM' ? 'SIGTERM' : 0])
})

test('a worker that does not exit gets SIGTERM after drainTimeout, and SIGKILL after killTimeout', async (t) => {
  const options = { drainTimeout: 100, killTimeout: 1000 }
  const { server, pool, reports, port } = await serve(t, 'block-on-command', options)
  const exits: unknown[] = []
  server.on('exit', (_worker, code, signal) => exits.push(code ?? signal))
  const caller = call(t, port)
  await until(() => pool.workers[0]?.leases === 1)
  pool.workers[0]?.process.send('block')
  await reports.next('blocked')
  await pool.close()
  t.deepEqual(exits, ['SIGTERM'])
  t.true(await isCut(caller))

  const ignoring = server.fork(require.resolve('./fixtures/ignore-sigterm'), { workers: 1, ...options })
  await ignoring.ready
  await ignoring.close()
  t.deepEqual(exits, ['SIGTERM', 'SIGKILL'])
})

test('connections that a retired thread does not finish by drainTimeout are cut', async (t) => {
  const { server, pool, reports, port } = await startThreads(t, 'hold-until-command', { drainTimeout: 300 })
  const cuts = cutsOf(server)
  const caller = call(t, port).send('token\n')
  await reports.next('held')
  await pool.resize(0)
  await until(() => cuts.length > 0)
  t.deepEqual(cuts, [{ worker: 1, connections: 1, reason: 'timeout' }])
  t.true(await isCut(caller))
})
