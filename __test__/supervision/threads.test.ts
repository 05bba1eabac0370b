import { join } from 'node:path'
import { SHARE_ENV, Worker as Thread } from 'node:worker_threads'
import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { linuxSerial } from '../helpers/conditional-test.js'
import { fixture } from '../helpers/fixture.js'
import { descriptors } from '../helpers/processes.js'
import { listen, serve, startServer, startThreads } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'

test('connect() works in worker threads, and their handles have thread ids', async (t) => {
  const { server, pool, port } = await startThreads(t, 'answer-tokens', { workers: 2 })
  t.regex(await ask(port, 'token\n'), new RegExp(`^${process.pid} token`))
  t.deepEqual(
    pool.workers.map(({ id, state, generation, pid }) => ({ id, state, generation, pid })),
    [1, 2].map((id) => ({ id, state: 'ready', generation: 1, pid: undefined })),
  )
  t.deepEqual(
    pool.workers.map(({ threadId }) => threadId),
    pool.workers.map(({ thread }) => thread.threadId),
  )
  await pool.resize(3)
  await pool.reload()
  t.true(pool.workers.every(({ generation, state }) => generation === 2 && state === 'ready'))
  await pool.resize(1)
  t.is(pool.workers.length, 1)
  t.regex(await ask(port, 'token\n'), / token/)
  t.like(server.stats(), { handedOff: 2, workers: 1 })
})

test('a worker thread gets its workerData, arguments and environment', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const options = { workers: 1, workerData: 'data', argv: ['argument'], env: { OWN: 'environment' } }
  await server.threads(fixture('answer-thread-data'), options).ready
  t.deepEqual(JSON.parse(await ask(port)), {
    data: 'data',
    argument: 'argument',
    own: ['OTEL_RESOURCE_ATTRIBUTES', 'OWN'],
  })
})

test('processes and threads serve one queue together', async (t) => {
  const { server, port } = await serve(t, 'one-at-a-time', { workers: 1 })
  const threads = server.threads(fixture('one-at-a-time'), { workers: 1, execArgv: [] })
  await threads.ready
  const [first, second, third] = [1, 2, 3].map(() => call(t, port))
  await until(() => server.stats().leases === 2 && server.stats().queued === 1)
  t.is(threads.workers[0]?.leases, 1)
  await first?.send('one\n').answer()
  await until(() => server.stats().queued === 0)
  for (const caller of [second, third]) t.regex(await (caller?.send('more\n').answer() ?? ''), /more/)
})

const ENDS = [
  ['an uncaught error', 'throw', 1],
  ['process.exit()', 'exit', 3],
] as const
for (const [name, word, exitCode] of ENDS) {
  linuxSerial(
    `${name} ends only its thread: connections that it had not taken are answered by the next, and no descriptor leaks`,
    async (t) => {
      const { server, pool, port, reports } = await startThreads(t, 'end-as-client-asks')
      const errors: Error[] = []
      server.on('error', (error) => errors.push(error))
      const exits: unknown[] = []
      server.on('exit', (_worker, code, signal) => exits.push([code, signal]))
      await ask(port, 'warm\n')
      const before = descriptors()
      for (let round = 1; round <= 3; round++) {
        const held = call(t, port).send('hold\n')
        await reports.next('held')
        const ending = call(t, port).send(`${word}\n`)
        const early = Array.from({ length: 5 }, () => call(t, port))
        await until(() => exits.length === round)
        // The thread had taken these: their clients see the end of the connection.
        for (const caller of [held, ending]) await caller.answer().catch(() => '')
        for (const caller of early) caller.disconnect()
        t.is(await ask(port, 'late\n'), 'late\n')
      }
      t.deepEqual(
        exits,
        [1, 2, 3].map(() => [exitCode, null]),
      )
      t.is(pool.workers[0]?.restarts, 3)
      t.is(errors.length, word === 'throw' ? 3 : 0)
      if (word === 'throw') t.regex(errors[0]?.message ?? '', /thread \d+\) exited with code 1: thrown on purpose/)
      t.true(server.stats().cut >= 6)
      await until(() => server.stats().leases === 0 && descriptors() <= before)
    },
  )
}

linuxSerial(
  'a thread that ends between receiving a connection and adopting its socket loses only that connection',
  async (t) => {
    const { server, pool, port } = await startThreads(t, 'exit-before-adopting', { restart: { minDelay: 1 } })
    server.on('error', () => {})
    t.regex(await ask(port, 'warm\n'), /warm/)
    await until(() => server.stats().leases === 0)
    const before = descriptors()
    for (let round = 1; round <= 3; round++) {
      t.is(await ask(port, 'taken\n').catch(() => ''), '')
      await until(() => server.stats().cut === round && pool.workers.some(({ state }) => state === 'ready'))
      t.regex(await ask(port, 'next\n'), /next/)
      await until(() => server.stats().leases === 0)
    }
    await until(() => descriptors() <= before)
  },
)

linuxSerial(
  'a joined thread that ends between receiving a connection and adopting its socket loses only that connection',
  async (t) => {
    const server = startServer(t)
    const port = await listen(server)
    const path = join(temporaryDirectory(t), 'ctl')
    await server.share(path)
    let before = Number.POSITIVE_INFINITY
    // The first round opens descriptors that stay open.
    for (let round = 1; round <= 3; round++) {
      const thread = new Thread(fixture('exit-before-adopting'), { workerData: { path } })
      t.teardown(() => thread.terminate())
      await until(() => server.stats().workers === 1)
      t.regex(await ask(port, 'warm\n'), /warm/)
      t.is(await ask(port, 'taken\n').catch(() => ''), '')
      await until(() => server.stats().workers === 0 && server.stats().leases === 0 && descriptors() <= before)
      before = descriptors()
    }
  },
)

linuxSerial('terminate() of a thread loses the connections that it held and no others', async (t) => {
  const { server, pool, port, reports } = await startThreads(t, 'end-as-client-asks', { workers: 2 })
  let before = Number.POSITIVE_INFINITY
  // The first round opens descriptors that stay open.
  for (let round = 1; round <= 3; round++) {
    const held = call(t, port).send('hold\n')
    await reports.next('held')
    const victim = pool.workers.find(({ leases }) => leases === 1)
    const cut = server.stats().cut
    const answers = Promise.all(Array.from({ length: 20 }, () => ask(port, 'asked\n').catch(() => '')))
    await victim?.thread.terminate()
    await held.answer().catch(() => '')
    const lost = (await answers).filter((answer) => answer === '').length
    await until(() => server.stats().cut > cut)
    t.true(lost <= server.stats().cut - cut - 1)
    await until(() => pool.workers.filter(({ state }) => state === 'ready').length === 2)
    t.is(await ask(port, 'late\n'), 'late\n')
    await until(() => server.stats().leases === 0 && descriptors() <= before)
    before = descriptors()
  }
})

test('a thread that cannot start rejects pool.ready with its error', async (t) => {
  const server = startServer(t)
  server.on('error', () => {})
  const pool = server.threads(fixture('throw-at-start'), { workers: 1 })
  const error = await t.throwsAsync(pool.ready, { code: 'ERR_SOCKETSERVER_WORKER_EXITED' })
  t.regex(error.message, /thread \d+\) exited with code 1 before it had connected: broken on purpose/)
  t.like(error.cause, { message: 'broken on purpose' })
})

test('threads() refuses options that a pool of threads does not support', (t) => {
  const server = startServer(t)
  const bad = [{ env: SHARE_ENV }, { eval: true }, { transferList: [] }, { maxMemory: 2 ** 30 }]
  for (const options of bad) {
    t.throws(() => server.threads(fixture('answer-tokens'), Object(options)), { code: 'ERR_INVALID_ARG_VALUE' })
  }
  t.throws(() => server.threads('/no/such/file.js'), { code: 'ERR_SOCKETSERVER_ENTRY_NOT_FOUND' })
})
