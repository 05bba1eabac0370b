// What the system or a worker does not let happen: a clear error at once, with a code to match on.

import { once } from 'node:events'
import { openSync } from 'node:fs'
import { join } from 'node:path'
import { SocketServerError } from '@socketserver/node'
import test from 'ava'
import { call } from '../helpers/caller.js'
import { fixture } from '../helpers/fixture.js'
import { descriptors } from '../helpers/processes.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'

// Descriptors are counted in proc(5).
const onLinux = process.platform === 'linux' ? test : test.skip

test('a path too long for a Unix socket is rejected, not cut short', async (t) => {
  const path = join(temporaryDirectory(t), 'a'.repeat(120))
  const error = await t.throwsAsync(startServer(t).listen({ path }), { instanceOf: SocketServerError })
  t.like(error, { code: 'ENAMETOOLONG', syscall: 'listen', address: path })
  t.regex(error?.message ?? '', /^listen ENAMETOOLONG: /)
})

test('a host that does not exist is rejected as getaddrinfo has it', async (t) => {
  const error = await t.throwsAsync(startServer(t).listen(0, 'no-such-host.invalid'))
  t.true(error instanceof SocketServerError)
  t.like(error, { syscall: 'getaddrinfo', hostname: 'no-such-host.invalid' })
  t.regex(error?.message ?? '', /^getaddrinfo (ENOTFOUND|EAI_AGAIN) no-such-host\.invalid$/)
})

test('an address that is not of this machine is EADDRNOTAVAIL', async (t) => {
  // From TEST-NET-1 (RFC 5737), which nobody has.
  const error = await t.throwsAsync(startServer(t).listen(0, '192.0.2.1'))
  t.like(error, { code: 'EADDRNOTAVAIL', syscall: 'listen', address: '192.0.2.1' })
})

test('a descriptor that cannot listen is rejected, with the reason of the system', async (t) => {
  const server = startServer(t)
  const file = openSync(__filename, 'r')
  t.like(await t.throwsAsync(server.listen({ fd: file })), { code: 'ENOTSOCK', syscall: 'listen' })
  const error = await t.throwsAsync(server.listen({ fd: 98_765 }), { instanceOf: SocketServerError })
  t.like(error, { code: 'EBADF', errno: -9, syscall: 'listen', message: 'listen EBADF: bad file descriptor' })
  t.deepEqual(server.addresses(), [])
})

test('a missing entry file is told by fork() itself, which starts nothing', async (t) => {
  const server = startServer(t)
  const error = t.throws(() => server.fork('./no/such/worker.js'), { instanceOf: SocketServerError })
  t.is(error?.['code'], 'ERR_SOCKETSERVER_ENTRY_NOT_FOUND')
  t.is(error?.message, `There is no file to start a worker from: '${join(process.cwd(), 'no/such/worker.js')}'`)
  t.throws(() => server.fork(new URL('file:///no/such/worker.js')), { code: 'ERR_SOCKETSERVER_ENTRY_NOT_FOUND' })
})

for (const [how, told] of [
  ['0', /exited with code 0 before it had connected$/],
  ['3', /exited with code 3 before it had connected$/],
  ['SIGKILL', /was ended by SIGKILL before it had connected$/],
] as const) {
  test(`a worker that ends with ${how} before it has connected rejects pool.ready`, async (t) => {
    const server = startServer(t)
    server.on('error', (error) => t.fail(String(error)))
    const exited = once(server, 'exit')
    const { pool } = forkFixture(server, 'exit-at-once', { args: [how], restart: false })
    const [worker] = pool.workers
    const error = await t.throwsAsync(pool.ready, { instanceOf: SocketServerError })
    t.like(error, { code: 'ERR_SOCKETSERVER_WORKER_EXITED', pid: worker?.pid })
    t.regex(error?.message ?? '', told)
    t.true(error?.message.includes(fixture('exit-at-once')))
    const [handle, code, signal] = await exited
    t.is(handle, worker)
    t.deepEqual([code, signal], how === 'SIGKILL' ? [null, how] : [Number(how), null])
    t.deepEqual(pool.workers, [])
  })
}

test('a worker that exits before it has connected is an error of the server if nobody waits for ready', async (t) => {
  const server = startServer(t)
  const told = once(server, 'error')
  forkFixture(server, 'exit-at-once', { args: ['3'], restart: false })
  const [error] = await told
  t.is(error.code, 'ERR_SOCKETSERVER_WORKER_EXITED')
})

test('a program for workers that cannot be run rejects pool.ready with the cause', async (t) => {
  const server = startServer(t)
  const exited = once(server, 'exit')
  const { pool } = forkFixture(server, 'hello', { execPath: '/no/such/node', restart: false })
  const error = await t.throwsAsync(pool.ready, { instanceOf: SocketServerError })
  t.is(error?.['code'], 'ERR_SOCKETSERVER_WORKER_EXITED')
  t.regex(error?.message ?? '', /could not be started: spawn \/no\/such\/node ENOENT$/)
  t.like(error?.cause, { code: 'ENOENT', syscall: 'spawn /no/such/node' })
  t.deepEqual((await exited).slice(1), [null, null])
})

onLinux('what child_process.fork() throws is thrown, and no channel is left behind', async (t) => {
  const server = startServer(t)
  await listen(server)
  const before = descriptors()
  for (let i = 0; i < 10; i++) {
    t.throws(() => server.fork(fixture('hello'), { stdio: ['pipe', 'pipe', 'pipe'] }), {
      code: 'ERR_CHILD_PROCESS_IPC_REQUIRED',
    })
    t.throws(() => Reflect.apply(server.fork, server, [fixture('hello'), { uid: 'root' }]), {
      code: 'ERR_INVALID_ARG_TYPE',
    })
  }
  await until(() => descriptors() <= before)
  t.is(server.stats().workers, 0)
})

test('workers that are told to leave before they have connected reject pool.ready, and are ended', async (t) => {
  const server = startServer(t, { killTimeout: 100 })
  const { pool } = forkFixture(server, 'never-connect', { workers: 2 })
  const [worker] = pool.workers
  const ready = t.throwsAsync(pool.ready, { code: 'ERR_SOCKETSERVER_CLOSED' })
  await pool.close()
  t.regex((await ready)?.message ?? '', /was told to leave before it had connected$/)
  t.is(worker?.process.signalCode, 'SIGTERM')
  await t.throwsAsync(pool.resize(1), {
    code: 'ERR_SOCKETSERVER_CLOSED',
    message: 'The pool is closed: resize() comes too late',
  })
})

for (const state of ['closed', 'destroyed'] as const) {
  test(`listen(), fork() and resize() come too late once the server is ${state}`, async (t) => {
    const server = startServer(t)
    const { pool } = forkFixture(server, 'hello', { workers: 0 })
    if (state === 'closed') await server.close()
    else server.destroy()
    const late = { instanceOf: SocketServerError, code: 'ERR_SOCKETSERVER_CLOSED', message: / comes too late$/ }
    const forking = t.throws(() => server.fork(fixture('hello')), late)
    t.is(forking?.message, `The server is ${state}: fork() comes too late`)
    const listening = await t.throwsAsync(server.listen(0, '127.0.0.1'), late)
    t.is(listening?.message, `The server is ${state}: listen() comes too late`)
    await t.throwsAsync(pool.resize(1), late)
    t.is(server.stats().workers, 0)
  })
}

test('a server that drains takes no listener and no pool, but its pools may still grow to finish the queue', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const { pool } = forkFixture(server, 'hello', { workers: 0 })
  const waiting = call(t, port)
  await until(() => server.stats().queued === 1)
  const drained = server.drain()
  const late = { code: 'ERR_SOCKETSERVER_CLOSED', message: /^The server is draining: .* comes too late$/ }
  await t.throwsAsync(server.listen(0, '127.0.0.1'), late)
  t.throws(() => server.fork(fixture('hello')), late)
  await pool.resize(1)
  t.regex(await waiting.answer(), /"pid"/)
  t.like(await drained, { complete: true })
})
