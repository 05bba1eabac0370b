import { once } from 'node:events'
import type { WorkerHandle } from '@socketserver/node'
import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { forkFixture, listen, serve, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

test('pool.ready resolves when every worker has connected, and each is told of', async (t) => {
  const server = startServer(t)
  const told: WorkerHandle[] = []
  server.on('worker', (worker) => told.push(worker))
  const { pool } = forkFixture(server, 'hello', { workers: 3 })
  t.deepEqual(
    pool.workers.map(({ state }) => state),
    ['starting', 'starting', 'starting'],
  )
  await pool.ready
  t.is(server.stats().workers, 3)
  t.deepEqual(told.map(({ id }) => id).sort(), [1, 2, 3])
  t.true(told.every((worker) => pool.workers.some((other) => other === worker)))
})

test('handles tell id, pid, generation, state and leases', async (t) => {
  const { server, pool, port } = await serve(t, 'echo', { workers: 2 })
  const [first, second] = pool.workers
  t.like(first, { id: 1, generation: 1, state: 'ready', leases: 0 })
  t.like(second, { id: 2, generation: 1, state: 'ready', leases: 0 })
  t.is(first?.pid, first?.process.pid)
  t.not(first?.pid, second?.pid)
  const held = call(t, port)
  await until(() => server.stats().leases === 1)
  const busy = pool.workers.find(({ leases }) => leases === 1)
  t.is(pool.workers.filter(({ leases }) => leases === 0).length, 1)
  held.hangUp()
  await until(() => busy?.leases === 0)
})

test('resize() upwards resolves when the new workers have connected', async (t) => {
  const { server, pool } = await serve(t, 'hello')
  await pool.resize(3)
  t.is(pool.size, 3)
  t.deepEqual(
    pool.workers.map(({ id, state }) => [id, state]),
    [
      [1, 'ready'],
      [2, 'ready'],
      [3, 'ready'],
    ],
  )
  t.is(server.stats().workers, 3)
})

test('resize() downwards retires the least busy, waits until they have exited, and cuts nothing', async (t) => {
  const { server, pool, port } = await serve(t, 'echo')
  const held = call(t, port).say('held')
  await held.heard('held')
  const [busy] = pool.workers
  await pool.resize(3)
  const others = pool.workers.slice(1)
  const exits: unknown[] = []
  server.on('exit', (worker, code, signal) => exits.push([worker.id, code, signal]))
  await pool.resize(1)
  t.deepEqual(pool.workers, busy ? [busy] : [])
  t.deepEqual(
    others.map(({ state }) => state),
    ['exited', 'exited'],
  )
  t.deepEqual(exits.sort(), [
    [2, 0, null],
    [3, 0, null],
  ])
  held.say(' on')
  await held.heard('held on')
})

test('a worker that is retired while it holds a connection gets no more, and exits after it', async (t) => {
  const { server, pool, port } = await serve(t, 'echo')
  const held = call(t, port).say('held')
  await held.heard('held')
  const [worker] = pool.workers
  const retired = pool.resize(0)
  await until(() => worker?.state === 'draining')
  const waiting = call(t, port).say('waiting')
  await until(() => server.stats().queued === 1)
  held.say(' on')
  await held.heard('held on')
  t.is(worker?.leases, 1)
  held.hangUp()
  await retired
  t.is(worker?.state, 'exited')
  t.is(server.stats().queued, 1)
  await pool.resize(1)
  await waiting.heard('waiting')
})

test('a pool of none is a pool: connections wait until it is larger', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const { pool } = forkFixture(server, 'hello', { workers: 0 })
  await pool.ready
  t.deepEqual([pool.size, pool.workers.length], [0, 0])
  const caller = call(t, port)
  await until(() => server.stats().queued === 1)
  await pool.resize(1)
  t.is(JSON.parse(await caller.answer()).pid, pool.workers[0]?.pid)
})

test('pools of one server share its queue', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const pools = [forkFixture(server, 'hello').pool, forkFixture(server, 'hello').pool]
  for (const pool of pools) await pool.ready
  const pids = new Set(pools.flatMap((pool) => pool.workers.map(({ pid }) => pid)))
  const seen = new Set<number>()
  await until(async () => seen.add(JSON.parse(await ask(port)).pid).size === 2)
  t.true([...seen].every((pid) => pids.has(pid)))
  await pools[0]?.close()
  t.is(JSON.parse(await ask(port)).pid, pools[1]?.workers[0]?.pid)
})

test('least-busy spreads connections evenly over workers that keep up', async (t) => {
  const { server, pool, port } = await serve(t, 'echo', { workers: 3, server: { policy: 'least-busy' } })
  const round = async (): Promise<string> => {
    const callers = [1, 2, 3, 4, 5, 6].map(() => call(t, port))
    await until(() => server.stats().leases === 6)
    const held = pool.workers.map(({ leases }) => leases)
    for (const caller of callers) caller.hangUp()
    await until(() => server.stats().leases === 0)
    return held.join()
  }
  // One round may be uneven: a worker that has only just connected may not have asked for anything yet, and what it has
  // not taken within milliseconds is given to another.
  let even = 0
  await until(async () => {
    even = (await round()) === '2,2,2' ? even + 1 : 0
    return even === 5
  })
  t.pass()
})

test('round-robin gives each worker its turn', async (t) => {
  const { server, port } = await serve(t, 'hello', { workers: 3, server: { policy: 'round-robin' } })
  const turn = async (): Promise<number> => {
    const { pid } = JSON.parse(await ask(port))
    await until(() => server.stats().leases === 0)
    return pid
  }
  // The order may change: a worker that has only just connected may not have asked for anything yet, and what it has not
  // taken within milliseconds is given to another.
  let order = ''
  let same = 0
  await until(async () => {
    const turns = [await turn(), await turn(), await turn()]
    same = new Set(turns).size === 3 && turns.join() === order ? same + 1 : 0
    order = turns.join()
    return same === 5
  })
  t.pass()
})

test("a worker's end is told by 'exit', with how it ended", async (t) => {
  const { server, pool } = await serve(t, 'hello', { restart: false })
  const [worker] = pool.workers
  const exited = once(server, 'exit')
  worker?.process.kill('SIGTERM')
  t.deepEqual(await exited, [worker, null, 'SIGTERM'])
  t.is(worker?.state, 'exited')
  t.deepEqual(pool.workers, [])
  await until(() => server.stats().workers === 0)
})
