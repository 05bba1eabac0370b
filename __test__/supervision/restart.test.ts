import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Server, WorkerHandle } from '@socketserver/node'
import test from 'ava'
import { ask } from '../helpers/caller.js'
import { fixture } from '../helpers/fixture.js'
import { listen, serve, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'

function errorsOf(server: Server): Error[] {
  const errors: Error[] = []
  server.on('error', (error) => errors.push(error))
  return errors
}

test('a killed worker is replaced in its slot, and clients are answered', async (t) => {
  const { server, pool, port } = await serve(t, 'answer-tokens', { workers: 2 })
  const [victim, other] = pool.workers
  const exits: unknown[][] = []
  server.on('exit', (worker, code, signal) => exits.push([worker.id, worker.state, code, signal]))
  victim?.process.kill('SIGKILL')
  await until(() => exits.length === 1)
  t.deepEqual(exits, [[victim?.id, 'exited', null, 'SIGKILL']])
  await until(() => pool.workers.filter(({ state }) => state === 'ready').length === 2)
  t.deepEqual(
    pool.workers.map(({ id, restarts, generation }) => ({ id, restarts, generation })),
    [
      { id: other?.id, restarts: 0, generation: 1 },
      { id: 3, restarts: 1, generation: 1 },
    ],
  )
  t.regex(await ask(port, 'token\n'), /token/)
  t.like(server.stats(), { restarts: 1, states: { starting: 0, ready: 2, draining: 0 } })
})

test('a pool with restart: false leaves the slot empty until resize() fills it', async (t) => {
  const { server, pool } = await serve(t, 'answer-tokens', { workers: 2, restart: false })
  pool.workers[0]?.process.kill('SIGKILL')
  await until(() => pool.workers.length === 1)
  t.is(pool.size, 2)
  await pool.resize(2)
  await until(() => pool.workers.filter(({ state }) => state === 'ready').length === 2)
  t.is(server.stats().restarts, 0)
})

test('a worker that cannot start is reported at once with its exit code and last lines, and restarted', async (t) => {
  const server = startServer(t)
  const errors = errorsOf(server)
  const broken = join(temporaryDirectory(t), 'broken')
  writeFileSync(broken, '')
  const port = await listen(server)
  const pool = server.fork(fixture('fail-while-file-exists'), {
    workers: 1,
    args: [broken],
    silent: true,
    execArgv: [],
  })
  const error = await t.throwsAsync(pool.ready, { code: 'ERR_SOCKETSERVER_WORKER_EXITED' })
  t.like(error, { exitCode: 7, stderr: 'the configuration is wrong' })
  t.regex(error.message, /exited with code 7 before it had connected.*\nthe configuration is wrong$/s)
  await until(() => errors.length === 1)
  t.like(errors[0], { code: 'ERR_SOCKETSERVER_WORKER_EXITED', exitCode: 7 }, 'the second start')
  const answer = ask(port, 'early\n')
  await until(() => server.stats().queued === 1)
  rmSync(broken)
  t.regex(await answer, /early/)
})

test('a crash loop is reported once, and connections stay queued until it ends', async (t) => {
  const server = startServer(t)
  const errors = errorsOf(server)
  const broken = join(temporaryDirectory(t), 'broken')
  writeFileSync(broken, '')
  const port = await listen(server)
  const answer = ask(port, 'early\n')
  const restart = { minDelay: 1, maxDelay: 300, crashLoop: 3 }
  const pool = server.fork(fixture('fail-while-file-exists'), { workers: 2, args: [broken], restart, silent: true })
  await t.throwsAsync(pool.ready, { code: 'ERR_SOCKETSERVER_WORKER_EXITED' })
  const starts: WorkerHandle[] = []
  const isLoop = (error: Error): boolean => 'code' in error && error.code === 'ERR_SOCKETSERVER_CRASH_LOOP'
  await until(() => errors.some(isLoop))
  server.on('start', (worker) => starts.push(worker))
  await until(() => starts.length >= 4, { timeout: 20_000 })
  t.is(errors.filter(isLoop).length, 1)
  const loop = errors.find(isLoop)
  t.regex(loop?.message ?? '', /exited 3 times in a row .* every 300 ms.*code 7/s)
  t.is(server.stats().queued, 1)
  rmSync(broken)
  t.regex(await answer, /early/)
})

test('close() ends a pool that waits for a restart', async (t) => {
  const server = startServer(t)
  errorsOf(server)
  await listen(server)
  const broken = join(temporaryDirectory(t), 'broken')
  writeFileSync(broken, '')
  const restart = { minDelay: 60_000, maxDelay: 60_000 }
  const pool = server.fork(fixture('fail-while-file-exists'), { workers: 1, args: [broken], restart, silent: true })
  await t.throwsAsync(pool.ready)
  await until(() => server.stats().restarts === 1)
  await server.close()
  t.is(pool.workers.length, 0)
})

const BAD: readonly [string, object, string][] = [
  ['restart', { restart: 'yes' }, 'ERR_INVALID_ARG_TYPE'],
  ['restart.crashLoop', { restart: { crashLoop: 0 } }, 'ERR_OUT_OF_RANGE'],
  ['restart.crashLoop', { restart: { crashLoop: null } }, 'ERR_INVALID_ARG_TYPE'],
  ['restart.maxDelay', { restart: { minDelay: 10, maxDelay: 9 } }, 'ERR_OUT_OF_RANGE'],
  ['ready', { ready: 'later' }, 'ERR_INVALID_ARG_VALUE'],
  ['readyTimeout', { readyTimeout: -1 }, 'ERR_OUT_OF_RANGE'],
  ['drainTimeout', { drainTimeout: 1.5 }, 'ERR_OUT_OF_RANGE'],
  ['killTimeout', { killTimeout: '5' }, 'ERR_INVALID_ARG_TYPE'],
  ['maxConnections', { maxConnections: 0 }, 'ERR_OUT_OF_RANGE'],
  ['maxLifetime', { maxLifetime: 2 ** 31 }, 'ERR_OUT_OF_RANGE'],
  ['maxMemory', { maxMemory: '1g' }, 'ERR_INVALID_ARG_TYPE'],
  ['stallTimeout', { stallTimeout: Number.NaN }, 'ERR_OUT_OF_RANGE'],
  ['replaceStalled', { replaceStalled: 1 }, 'ERR_INVALID_ARG_TYPE'],
]
for (const [name, options, code] of BAD) {
  test(`fork() refuses ${JSON.stringify(options)}`, (t) => {
    const server = startServer(t)
    const error = t.throws(() => server.fork(fixture('answer-tokens'), options), { code })
    t.true(error?.message.includes(`"options.${name}"`), error?.message)
  })
}
