// console.log() of a server, a pool and a worker prints a short object.

import { join } from 'node:path'
import { inspect } from 'node:util'
import { connect } from '@socketserver/node'
import test from 'ava'
import { call } from '../helpers/caller.js'
import { fixture } from '../helpers/fixture.js'
import { serve, startThreads } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'

/** Inspects a value as one line, without a limit on its length. */
const shown = (value: unknown): string => inspect(value, { breakLength: Number.POSITIVE_INFINITY, depth: 4 })

test('a server prints its state, its addresses, its workers by state and its counters', async (t) => {
  const { server, port } = await serve(t, 'echo', { workers: 2 })
  const caller = call(t, port).send('a')
  await caller.receives('a')
  t.is(
    shown(server),
    `Server { state: 'open', addresses: [ '127.0.0.1:${port}' ], ` +
      'workers: { starting: 0, ready: 2, draining: 0 }, accepted: 1, handedOff: 1, queued: 0, leases: 1 }',
  )
  await server.close({ timeout: 0 })
  t.regex(shown(server), /^Server \{ state: 'closed'/)
})

test('a pool prints its entry, its size, its generation and its workers', async (t) => {
  const { pool } = await serve(t, 'echo', { workers: 2 })
  const workers = pool.workers.map(
    ({ id, slot, pid }) =>
      `Worker { id: ${id}, slot: ${slot}, pid: ${pid}, generation: 1, state: 'ready', leases: 0, handled: 0, restarts: 0 }`,
  )
  t.is(shown(pool), `Pool { entry: '${fixture('echo')}', size: 2, generation: 1, workers: [ ${workers.join(', ')} ] }`)
  t.is(shown({ pool: [pool.workers[0]] }), `{ pool: [ ${workers[0]} ] }`)
})

test('a thread prints its thread id, and a joined worker prints its path', async (t) => {
  const { server, pool } = await startThreads(t, 'echo')
  const [thread] = pool.workers
  t.true(
    shown(thread).startsWith(`Worker { id: 1, slot: 0, threadId: ${thread?.threadId}, generation: 1, state: 'ready'`),
  )
  const path = join(temporaryDirectory(t), 'ctl')
  const share = await server.share(path)
  const client = connect(path)
  t.teardown(() => client.close())
  await until(() => share.workers[0]?.state === 'ready')
  const text = shown(share.workers[0])
  t.true(text.startsWith(`Worker { id: 2, path: '${path}', pid: ${process.pid}, uid: ${process.getuid?.()}, `), text)
})

test('a server nested beyond the inspection depth prints only its name', async (t) => {
  const { server, pool } = await serve(t, 'echo')
  t.is(
    inspect({ server, pool, worker: pool.workers[0] }, { depth: 0 }),
    '{ server: [Server], pool: [Pool], worker: [Worker] }',
  )
})
