import { once } from 'node:events'
import type { WorkerHandle } from '@socketserver/node'
import test from 'ava'
import { ask, type Caller, call } from '../helpers/caller.js'
import { descriptors } from '../helpers/processes.js'
import { run } from '../helpers/program.js'
import { forkFixture, listen, serve, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

// Descriptors are counted in proc(5).
const onLinux = process.platform === 'linux' ? test : test.skip

test('pool.ready resolves when every worker has connected, and each emits worker', async (t) => {
  const server = startServer(t)
  const emitted: WorkerHandle[] = []
  server.on('worker', (worker) => emitted.push(worker))
  const { pool } = forkFixture(server, 'describe-connection', { workers: 3 })
  t.deepEqual(
    pool.workers.map(({ state }) => state),
    ['starting', 'starting', 'starting'],
  )
  await pool.ready
  t.is(server.stats().workers, 3)
  t.deepEqual(emitted.map(({ id }) => id).sort(), [1, 2, 3])
  t.true(emitted.every((worker) => pool.workers.some((other) => other === worker)))
})

test('handles have id, pid, generation, state and leases', async (t) => {
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
  held.disconnect()
  await until(() => busy?.leases === 0)
})

test('resize() to a larger size resolves when the new workers have connected', async (t) => {
  const { server, pool } = await serve(t, 'describe-connection')
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

test('resize() to a smaller size retires the highest slots, waits for their exit and cuts nothing', async (t) => {
  const { server, pool, port } = await serve(t, 'echo')
  const held = call(t, port).send('held')
  await held.receives('held')
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
  held.send(' on')
  await held.receives('held on')
})

test('a worker that is retired while it holds a connection gets no more and exits after that connection', async (t) => {
  const { server, pool, port } = await serve(t, 'echo')
  const held = call(t, port).send('held')
  await held.receives('held')
  const [worker] = pool.workers
  const retired = pool.resize(0)
  await until(() => worker?.state === 'draining')
  const waiting = call(t, port).send('waiting')
  await until(() => server.stats().queued === 1)
  held.send(' on')
  await held.receives('held on')
  t.is(worker?.leases, 1)
  held.disconnect()
  await retired
  t.is(worker?.state, 'exited')
  t.is(server.stats().queued, 1)
  await pool.resize(1)
  await waiting.receives('waiting')
})

test('connections of an empty pool wait until it is resized', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const { pool } = forkFixture(server, 'describe-connection', { workers: 0 })
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
  const pools = [forkFixture(server, 'describe-connection').pool, forkFixture(server, 'describe-connection').pool]
  for (const pool of pools) await pool.ready
  const pids = new Set(pools.flatMap((pool) => pool.workers.map(({ pid }) => pid)))
  const seen = new Set<number>()
  await until(async () => seen.add(JSON.parse(await ask(port)).pid).size === 2)
  t.true([...seen].every((pid) => pids.has(pid)))
  await pools[0]?.close()
  t.is(JSON.parse(await ask(port)).pid, pools[1]?.workers[0]?.pid)
})

for (const [policy, does, spread] of [
  ['least-busy', 'gives a connection to the worker with the fewest leases', [3, 3]],
  ['round-robin', 'gives connections to workers in turn, regardless of their leases', [2, 4]],
] as const) {
  test(`${policy} ${does}`, async (t) => {
    const { server, pool, port } = await serve(t, 'answer-pid-and-hold', { workers: 2, server: { policy } })
    const hold = async (): Promise<Caller> => {
      const caller = call(t, port)
      await caller.receives('\n')
      return caller
    }
    // A single round may differ: a worker that has only just connected may not have asked for connections yet, and a
    // connection that it has not taken within milliseconds is given to another worker.
    let inARow = 0
    await until(async () => {
      const callers = [await hold(), await hold(), await hold(), await hold()]
      const pid = callers[0]?.received
      for (const caller of callers) if (caller.received === pid) caller.disconnect()
      await until(() => server.stats().leases === callers.filter(({ received }) => received !== pid).length)
      for (let i = 0; i < 4; i++) callers.push(await hold())
      const held = callers.filter(({ socket }) => !socket.destroyed)
      const counts = [held.filter(({ received }) => received === pid).length, held.length]
      for (const caller of callers) caller.disconnect()
      await until(() => server.stats().leases === 0)
      inARow = counts.join() === [spread[0], spread[0] + spread[1]].join() ? inARow + 1 : 0
      return inARow === 5
    })
    t.is(pool.workers.length, 2)
  })
}

test('first fills one worker before the next gets a connection, and returns to it', async (t) => {
  const { server, pool, port } = await serve(t, 'echo-with-concurrency', {
    workers: 3,
    args: ['2'],
    server: { policy: 'first' },
  })
  const fullest: number[] = []
  // As above, a single round may differ.
  await until(async () => {
    const callers = ['a', 'b', 'c'].map((word) => call(t, port).send(word))
    for (const [index, word] of ['a', 'b', 'c'].entries()) await callers[index]?.receives(word)
    await until(() => server.stats().leases === 3)
    const full = pool.workers.find(({ leases }) => leases === 2)
    const unused = pool.workers.filter(({ leases }) => leases === 0)
    for (const caller of callers) caller.disconnect()
    await until(() => server.stats().leases === 0)
    if (full === undefined || unused.length !== 1) fullest.length = 0
    else fullest.push(full.id)
    return fullest.length >= 5 && new Set(fullest.slice(-5)).size === 1
  })
  t.is(pool.workers.length, 3)
})

onLinux('starting and retiring workers leaks no descriptor', async (t) => {
  const server = startServer(t)
  await listen(server)
  const { pool } = forkFixture(server, 'describe-connection')
  await pool.ready
  await pool.resize(0)
  const before = descriptors()
  for (let i = 0; i < 3; i++) {
    await pool.resize(3)
    await pool.resize(0)
  }
  await until(() => descriptors() <= before)
  t.pass()
})

test('the exit event has the exit code or the signal of the worker', async (t) => {
  const { server, pool } = await serve(t, 'describe-connection', { restart: false })
  const [worker] = pool.workers
  const exited = once(server, 'exit')
  worker?.process.kill('SIGTERM')
  t.deepEqual(await exited, [worker, null, 'SIGTERM'])
  t.is(worker?.state, 'exited')
  t.deepEqual(pool.workers, [])
  await until(() => server.stats().workers === 0)
})

test('a parent can start one more worker on SIGUSR1', async (t) => {
  const parent = run(t, 'resize-on-sigusr1')
  const port = Number(await parent.line())
  parent.process.kill('SIGUSR1')
  t.is(await parent.line(), '2')
  parent.process.kill('SIGUSR1')
  t.is(await parent.line(), '3')
  const pids = new Set<number>()
  await until(async () => pids.add(JSON.parse(await ask(port)).pid).size === 3)
  parent.process.kill('SIGTERM')
  for (let i = 0; i < 3; i++) t.deepEqual(await parent.json(), { code: 0, signal: null })
  t.is(await parent.exit(), 0)
})
