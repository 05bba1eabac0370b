import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { ask, type Caller, call } from '../helpers/caller.js'
import { fixture } from '../helpers/fixture.js'
import { run } from '../helpers/program.js'
import { forkFixture, listen, serve, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'

test('reload() starts all new workers before it retires the old ones, a few at a time', async (t) => {
  const { server, pool } = await serve(t, 'answer-tokens', { workers: 4 })
  const old = pool.workers
  let ready = 0
  server.on('worker', () => {
    ready += 1
  })
  const draining: { ready: number; atOnce: number }[] = []
  server.on('transition', ({ state, generation }) => {
    if (state !== 'draining' || generation !== 1) return
    draining.push({ ready, atOnce: old.filter((worker) => worker.state === 'draining').length })
  })
  await pool.reload({ atOnce: 2 })
  t.deepEqual(
    pool.workers.map(({ generation, state }) => ({ generation, state })),
    [5, 6, 7, 8].map(() => ({ generation: 2, state: 'ready' })),
  )
  t.true(old.every(({ state }) => state === 'exited'))
  t.is(draining.length, 4)
  t.true(draining.every(({ ready: newOnes }) => newOnes === 4))
  t.is(Math.max(...draining.map(({ atOnce }) => atOnce)), 2)
  t.is(server.stats().reloads, 1)
})

test('an old worker finishes its connections, and new workers get new connections', async (t) => {
  const { pool, port, reports } = await serve(t, 'hold-until-command')
  const held = call(t, port).send('held\n')
  await reports.next('held')
  const [old] = pool.workers
  const reloaded = pool.reload()
  await until(() => old?.state === 'draining')
  const later = call(t, port).send('later\n')
  await reports.next('held')
  old?.process.send('release')
  t.is(await held.answer(), `${old?.pid} held\n`)
  await reloaded
  pool.workers[0]?.process.send('release')
  t.is(await later.answer(), `${pool.workers[0]?.pid} later\n`)
})

test('reload() rejects if a new worker fails to start, and the old generation continues to serve', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const broken = join(temporaryDirectory(t), 'broken')
  const pool = server.fork(fixture('fail-while-file-exists'), { workers: 3, args: [broken], silent: true })
  await pool.ready
  const before = pool.workers.map(({ id }) => id)
  writeFileSync(broken, '')
  const error = await t.throwsAsync(pool.reload(), { code: 'ERR_SOCKETSERVER_WORKER_EXITED' })
  t.like(error, { exitCode: 7, stderr: 'the configuration is wrong' })
  await until(() => pool.workers.length === 3)
  t.deepEqual(
    pool.workers.map(({ id }) => id),
    before,
  )
  t.regex(await ask(port, 'token\n'), /token/)
  rmSync(broken)
  await pool.reload()
  t.true(pool.workers.every(({ id }) => !before.includes(id)))
})

test('a ready worker of a failed generation finishes the connections that it has taken', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const { pool, reports } = forkFixture(server, 'ready-on-command', { workers: 2, ready: 'manual' })
  for (const { process: child } of pool.workers) {
    await reports.next('connected')
    child.send('ready')
  }
  await pool.ready
  const reloaded = pool.reload()
  await until(() => pool.workers.length === 4)
  const [, , third, fourth] = pool.workers
  third?.process.send('ready')
  await until(() => third?.state === 'ready')
  const callers: Caller[] = []
  await until(() => {
    callers.push(call(t, port))
    return third?.leases !== 0
  })
  fourth?.process.kill('SIGKILL')
  await t.throwsAsync(reloaded, { code: 'ERR_SOCKETSERVER_WORKER_EXITED' })
  t.is(third?.state, 'draining')
  for (const caller of callers) t.regex(await caller.send('asked\n').answer(), /asked/)
  await until(() => third?.state === 'exited')
  t.deepEqual(
    pool.workers.map(({ generation }) => generation),
    [1, 1],
  )
})

test('calls of reload() during a reload are one more reload after it', async (t) => {
  const { server, pool } = await serve(t, 'answer-tokens')
  const first = pool.reload()
  const others = [pool.reload(), pool.reload(), pool.reload()]
  await first
  t.is(pool.workers.at(-1)?.generation, 2)
  await Promise.all(others)
  t.is(pool.workers.length, 1)
  t.is(pool.workers[0]?.generation, 3)
  t.is(server.stats().reloads, 2)
  await pool.reload()
  t.is(pool.workers[0]?.generation, 4)
})

test('a worker that dies during a reload is replaced by its successor', async (t) => {
  const { server, pool, port } = await serve(t, 'answer-tokens', { workers: 2 })
  const [victim] = pool.workers
  const reloaded = pool.reload()
  victim?.process.kill('SIGKILL')
  await reloaded
  t.is(pool.workers.length, 2)
  t.true(pool.workers.every(({ generation, state }) => generation === 2 && state === 'ready'))
  t.is(server.stats().restarts, 0)
  t.regex(await ask(port, 'token\n'), /token/)
})

test('resize() during a reload results in the given size', async (t) => {
  const { pool } = await serve(t, 'answer-tokens', { workers: 4 })
  const reloaded = pool.reload()
  await Promise.all([pool.resize(2), reloaded])
  await until(() => pool.workers.length === 2)
  const again = pool.reload()
  await Promise.all([pool.resize(3), again])
  t.is(pool.workers.filter(({ state }) => state === 'ready').length, 3)
})

test('reload() refuses a bad atOnce and rejects for a closed pool', async (t) => {
  const { pool } = await serve(t, 'answer-tokens')
  await t.throwsAsync(pool.reload({ atOnce: 0 }), { code: 'ERR_OUT_OF_RANGE' })
  const reloaded = pool.reload()
  const closed = pool.close()
  await t.throwsAsync(reloaded, { code: 'ERR_SOCKETSERVER_CLOSED' })
  await closed
  t.is(pool.workers.length, 0)
  await t.throwsAsync(pool.reload(), { code: 'ERR_SOCKETSERVER_CLOSED' })
})

test('a parent in a symlinked release folder reloads into the release that the link points to now', async (t) => {
  const directory = temporaryDirectory(t)
  const current = join(directory, 'current')
  const release = (name: string): string => {
    mkdirSync(join(directory, name))
    return join(directory, name)
  }
  const worker = (answer: string): string =>
    `require(${JSON.stringify(require.resolve('@socketserver/node'))}).connect().on('connection', (s) => s.resume().end('${answer}'))`
  const switchTo = (target: string): void => {
    symlinkSync(target, `${current}.new`)
    renameSync(`${current}.new`, current)
  }
  const one = release('one')
  writeFileSync(join(one, 'worker.js'), worker('one'))
  switchTo(one)
  const program = run(t, 'reload-on-command', { cwd: current, env: { PWD: current } })
  const { port } = JSON.parse(await program.line())
  t.is(await ask(port), 'one')

  const two = release('two')
  switchTo(two)
  program.process.kill('SIGUSR2')
  t.deepEqual(JSON.parse(await program.line()), { code: 'ERR_SOCKETSERVER_ENTRY_NOT_FOUND' })
  t.is(await ask(port), 'one', 'the old release continues to serve')

  writeFileSync(join(two, 'worker.js'), worker('two'))
  program.process.kill('SIGUSR2')
  t.deepEqual(JSON.parse(await program.line()), { reloaded: true })
  t.is(await ask(port), 'two')
  program.process.kill('SIGTERM')
  await program.exit()
})
