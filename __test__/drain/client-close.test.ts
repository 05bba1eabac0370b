import { once } from 'node:events'
import type { WorkerHandle } from '@socketserver/node'
import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { forkFixture, listen, serve, startServer, startThreads } from '../helpers/served.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

/** Sends a command to a worker of either kind. */
function sendCommand(worker: WorkerHandle | undefined, command: string): void {
  if (worker?.thread === undefined) worker?.process?.send(command)
  else worker.thread.postMessage(command)
}

test('a client that closes takes no more connections, finishes its leases and disconnects', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'close-on-command')
  const held = call(t, port).send('held')
  await held.receives('held')
  pool.workers[0]?.process.send('close')
  t.like(await reports.next('closing'), { same: true })
  const late = call(t, port).send('late')
  await until(() => server.stats().queued === 1)
  held.send(' on')
  await held.receives('held on')
  t.is(reports.count('closed'), 0)
  held.disconnect()
  t.like(await reports.next('closed'), { leases: 0 })
  t.like(await reports.next('close event'), { leases: 0 })
  await until(() => server.stats().workers === 0)
  forkFixture(server, 'echo')
  await late.receives('late')
})

for (const [where, start] of [
  ['process', serve],
  ['thread', startThreads],
] as const) {
  test(`a ${where} that closes its client is draining at once, while it still holds a connection`, async (t) => {
    const { pool, reports, port } = await start(t, 'close-on-command')
    const held = call(t, port).send('held')
    await held.receives('held')
    const [worker] = pool.workers
    sendCommand(worker, 'close')
    await reports.next('closing')
    await until(() => worker?.state === 'draining')
    t.is(worker?.leases, 1)
    held.disconnect()
    await reports.next('closed')
  })

  test(`a ${where} that closes its client and keeps its connections is ended after drainTimeout`, async (t) => {
    const { server, pool, reports, port } = await start(t, 'close-on-command', { drainTimeout: 300, restart: false })
    const cut = once(server, 'cut')
    const held = call(t, port).send('held')
    await held.receives('held')
    const [worker] = pool.workers
    sendCommand(worker, 'close')
    await reports.next('closing')
    t.like(await within(cut, 'the cut'), [{ id: worker?.id }, { connections: 1, reason: 'timeout' }])
    await until(() => worker?.state === 'exited')
  })

  test(`a ${where} that closes its client and does not exit is ended after drainTimeout`, async (t) => {
    const { server, pool, reports } = await start(t, 'close-and-keep-running', { drainTimeout: 300, restart: false })
    const [worker] = pool.workers
    sendCommand(worker, 'close')
    await reports.next('closed')
    await until(() => worker?.state === 'exited')
    t.is(server.stats().cut, 0)
  })
}

test('every call after close() rejects with ERR_SOCKETSERVER_CLOSED', async (t) => {
  const { server, pool, reports } = await serve(t, 'close-on-command', { restart: false })
  const [worker] = pool.workers
  worker?.process.send('close')
  await reports.next('left')
  for (const event of ['accept', 'serve', 'connect', 'connect to a port']) {
    t.like(await reports.next(event), { name: 'SocketServerError', code: 'ERR_SOCKETSERVER_CLOSED' }, event)
  }
  t.is(reports.count('connection'), 0)
  t.is(reports.count('close event'), 1)
  await until(() => pool.workers.length === 0)
  t.is(worker?.process.exitCode, 0)
  t.is(worker?.state, 'exited')
  t.is(server.stats().workers, 0)
})

test('close() rejects pending accept() calls', async (t) => {
  const server = startServer(t)
  await listen(server)
  const { reports } = forkFixture(server, 'close-with-pending-accepts')
  await reports.next('closed')
  for (const event of ['first', 'second']) {
    t.like(await reports.next(event), { code: 'ERR_SOCKETSERVER_CLOSED', message: 'The client is closed' })
  }
})

test('pending accept() calls of a retired worker reject with the reason', async (t) => {
  const server = startServer(t)
  const { pool, reports } = forkFixture(server, 'close-with-pending-accepts', { args: ['wait'] })
  await pool.ready
  const [worker] = pool.workers
  await pool.close()
  const message = 'The client is closed: the server has retired this worker'
  t.like(await reports.next('first'), { code: 'ERR_SOCKETSERVER_CLOSED', message })
  t.is(worker?.process.exitCode, 0)
})

test('a client emits drain once, so that a worker can end its idle connections', async (t) => {
  const { server, reports, port } = await serve(t, 'end-on-drain')
  const caller = call(t, port)
  await until(() => server.stats().leases === 1)
  const drained = server.drain()
  t.is(await caller.answer(), 'goodbye')
  t.like(await drained, { complete: true })
  await server.close()
  t.is(reports.count('drain'), 1)
})

test('an unreferenced client does not keep its process alive', async (t) => {
  const server = startServer(t)
  const { pool } = forkFixture(server, 'connect-unreferenced')
  const [worker] = pool.workers
  await until(() => worker?.state === 'exited')
  t.is(worker?.process.exitCode, 0)
})

test('a client that is referenced again keeps its process alive', async (t) => {
  const { pool, port } = await serve(t, 'connect-unreferenced', { args: ['ref'] })
  for (let i = 0; i < 3; i++) t.is(await ask(port), 'answered')
  t.is(pool.workers[0]?.state, 'ready')
})
