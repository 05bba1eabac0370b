// Workers that cannot be started or exit before they are ready.

import { once } from 'node:events'
import { join } from 'node:path'
import { SocketServerError } from '@socketserver/node'
import test from 'ava'
import { fixture } from '../helpers/fixture.js'
import { descriptors } from '../helpers/processes.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

// Descriptors are counted in proc(5).
const onLinux = process.platform === 'linux' ? test : test.skip

test('fork() throws for a missing entry file', async (t) => {
  const server = startServer(t)
  const error = t.throws(() => server.fork('./no/such/worker.js'), { instanceOf: SocketServerError })
  t.is(error?.['code'], 'ERR_SOCKETSERVER_ENTRY_NOT_FOUND')
  t.is(error?.message, `The file to start workers from does not exist: '${join(process.cwd(), 'no/such/worker.js')}'`)
  t.throws(() => server.fork(new URL('file:///no/such/worker.js')), { code: 'ERR_SOCKETSERVER_ENTRY_NOT_FOUND' })
})

for (const [how, message] of [
  ['0', /exited with code 0 before it had connected$/],
  ['3', /exited with code 3 before it had connected$/],
  ['SIGKILL', /was killed by SIGKILL before it had connected$/],
] as const) {
  test(`a worker that ends with ${how} before it has connected rejects pool.ready`, async (t) => {
    const server = startServer(t)
    server.on('error', (error) => t.fail(String(error)))
    const exited = once(server, 'exit')
    const { pool } = forkFixture(server, 'exit-at-once', { args: [how], restart: false })
    const [worker] = pool.workers
    const error = await t.throwsAsync(pool.ready, { instanceOf: SocketServerError })
    t.like(error, { code: 'ERR_SOCKETSERVER_WORKER_EXITED', pid: worker?.pid })
    t.regex(error?.message ?? '', message)
    t.true(error?.message.includes(fixture('exit-at-once')))
    const [handle, code, signal] = await exited
    t.is(handle, worker)
    t.deepEqual([code, signal], how === 'SIGKILL' ? [null, how] : [Number(how), null])
    t.deepEqual(pool.workers, [])
  })
}

test('a worker that exits before it has connected is reported by the error event if pool.ready is not awaited', async (t) => {
  const server = startServer(t)
  const emitted = once(server, 'error')
  forkFixture(server, 'exit-at-once', { args: ['3'], restart: false })
  const [error] = await emitted
  t.is(error.code, 'ERR_SOCKETSERVER_WORKER_EXITED')
})

test('an execPath that cannot be run rejects pool.ready with the cause', async (t) => {
  const server = startServer(t)
  const exited = once(server, 'exit')
  const { pool } = forkFixture(server, 'describe-connection', { execPath: '/no/such/node', restart: false })
  const error = await t.throwsAsync(pool.ready, { instanceOf: SocketServerError })
  t.is(error?.['code'], 'ERR_SOCKETSERVER_WORKER_EXITED')
  t.regex(error?.message ?? '', /could not be started: spawn \/no\/such\/node ENOENT$/)
  t.like(error?.cause, { code: 'ENOENT', syscall: 'spawn /no/such/node' })
  t.deepEqual((await exited).slice(1), [null, null])
})

onLinux('fork() throws the errors of child_process.fork() and leaks no channel', async (t) => {
  const server = startServer(t)
  await listen(server)
  const before = descriptors()
  for (let i = 0; i < 10; i++) {
    t.throws(() => server.fork(fixture('describe-connection'), { stdio: ['pipe', 'pipe', 'pipe'] }), {
      code: 'ERR_CHILD_PROCESS_IPC_REQUIRED',
    })
    t.throws(() => Reflect.apply(server.fork, server, [fixture('describe-connection'), { uid: 'root' }]), {
      code: 'ERR_INVALID_ARG_TYPE',
    })
  }
  await until(() => descriptors() <= before)
  t.is(server.stats().workers, 0)
})

test('closing a pool before its workers have connected rejects pool.ready and ends the workers', async (t) => {
  const server = startServer(t, { killTimeout: 1000 })
  const { pool } = forkFixture(server, 'never-connect', { workers: 2 })
  const [worker] = pool.workers
  const ready = t.throwsAsync(pool.ready, { code: 'ERR_SOCKETSERVER_CLOSED' })
  await pool.close()
  t.regex((await ready)?.message ?? '', /was retired before it had connected$/)
  t.is(worker?.process.signalCode, 'SIGTERM')
  await t.throwsAsync(pool.resize(1), {
    code: 'ERR_SOCKETSERVER_CLOSED',
    message: 'resize() failed: the pool is closed',
  })
})
