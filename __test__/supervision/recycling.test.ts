import test from 'ava'
import { ask } from '../helpers/caller.js'
import { library } from '../helpers/library.js'
import { serve } from '../helpers/served.js'
import { until } from '../helpers/until.js'

const { jitteredLimits } = library('server/pool/recycling')

test('the limits of a worker are those of its pool, less up to 10 %', (t) => {
  const most = { maxLifetime: 1000, maxConnections: 100, maxMemory: Number.POSITIVE_INFINITY }
  t.deepEqual(jitteredLimits(most, 0), { lifetime: 1000, connections: 100, memory: Number.POSITIVE_INFINITY })
  t.deepEqual(jitteredLimits(most, 0.5), { lifetime: 950, connections: 95, memory: Number.POSITIVE_INFINITY })
  t.is(jitteredLimits({ ...most, maxMemory: 1000 }, 0.999).memory, 900)
  t.is(jitteredLimits({ ...most, maxConnections: 1 }, 0.999).connections, 1)
})

test('a worker that has handled maxConnections is replaced without refusing a client', async (t) => {
  const { server, pool, port } = await serve(t, 'answer-tokens', { maxConnections: 20 })
  const [first] = pool.workers
  // The jitter takes off up to two.
  for (let i = 0; i < 20; i++) t.regex(await ask(port, `${i}\n`), new RegExp(` ${i}\n`))
  await until(() => (first?.handled ?? 0) >= 18)
  await until(async () => {
    await ask(port, 'meanwhile\n')
    return first?.state === 'exited'
  })
  t.is(first?.restarts, 0)
  t.deepEqual(
    pool.workers.map(({ id, restarts, state }) => ({ id, restarts, state })),
    [{ id: 2, restarts: 0, state: 'ready' }],
  )
  t.is(server.stats().restarts, 0, 'a replacement is not a restart')
})

test('a worker is replaced after maxLifetime', async (t) => {
  const { pool } = await serve(t, 'answer-tokens', { workers: 2, maxLifetime: 500 })
  const started = performance.now()
  const old = pool.workers
  await until(() => old.every(({ state }) => state === 'exited'))
  t.true(performance.now() - started > 450 - 100)
  t.is(pool.size, 2)
})

test('a worker whose resident memory exceeds maxMemory is replaced', async (t) => {
  const env = { ...process.env, MEGABYTES: '300' }
  const { pool, port } = await serve(t, 'allocate-on-command', { workers: 2, maxMemory: 200 * 2 ** 20, env })
  const [large, small] = pool.workers
  large?.process.send('grow')
  await until(() => large?.state === 'exited')
  t.is(small?.state, 'ready')
  t.regex(await ask(port, 'token\n'), /token/)
})
