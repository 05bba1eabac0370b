// A worker has its id, slot and generation, and isWorker is true.

import { get } from 'node:http'
import type { ForkOptions } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { ask } from '../helpers/caller.js'
import { run } from '../helpers/program.js'
import { forkFixture, listen, serve, startServer, startThreads } from '../helpers/served.js'
import { until } from '../helpers/until.js'

async function identities(port: number, slots: readonly number[]): Promise<Map<number, Record<string, unknown>>> {
  const found = new Map<number, Record<string, unknown>>()
  await until(async () => {
    const answer = JSON.parse(await ask(port))
    found.set(answer.worker.slot, answer)
    return slots.every((slot) => found.has(slot))
  })
  return found
}

test('a worker process has its id, slot and generation before and after it connects', async (t) => {
  const { pool, port } = await serve(t, 'answer-identity', { workers: 2, server: { policy: 'round-robin' } })
  const found = await identities(port, [0, 1])
  for (const handle of pool.workers) {
    t.like(found.get(handle.slot), {
      isWorker: true,
      isWorkerStill: true,
      worker: { id: handle.id, slot: handle.slot, generation: 1 },
      instance: String(handle.slot),
    })
  }
})

test('a worker thread has its id, slot and generation', async (t) => {
  const { pool, port } = await startThreads(t, 'answer-identity', { workers: 2, server: { policy: 'round-robin' } })
  const found = await identities(port, [0, 1])
  t.deepEqual(
    pool.workers.map(({ slot }) => slot),
    [0, 1],
  )
  for (const { id, slot } of pool.workers)
    t.like(found.get(slot), { isWorker: true, worker: { id, slot, generation: 1 } })
})

test('a restart and a reload keep the slot, and resize() leaves slots 0 to n-1', async (t) => {
  const { server, pool, port } = await serve(t, 'answer-identity', { workers: 3, restart: { minUptime: 0 } })
  const [first] = pool.workers
  const restarted = new Promise((resolve) => {
    server.on('worker', (worker) => worker.restarts === 1 && resolve(worker.slot))
  })
  first?.process.kill('SIGKILL')
  t.is(await restarted, 0)
  await pool.reload()
  const slots = (): number[] => pool.workers.map(({ slot }) => slot).sort()
  t.deepEqual(slots(), [0, 1, 2])
  t.deepEqual(new Set(pool.workers.map(({ generation }) => generation)), new Set([2]))
  await pool.resize(1)
  t.deepEqual(slots(), [0])
  await pool.resize(2)
  t.deepEqual(slots(), [0, 1])
  t.like((await identities(port, [0])).get(0), { worker: { slot: 0, generation: 2 } })
})

test('a program that no server started is not a worker', (t) => {
  const { isWorker, worker } = require('@socketserver/node')
  t.is(isWorker, false)
  t.is(worker, undefined)
})

for (const kind of ['processes', 'threads']) {
  test(`one file can be both parent and worker: ${kind}`, async (t) => {
    const program = run(t, 'parent-and-worker', { args: [kind] })
    const { port } = JSON.parse(await program.line())
    t.regex(await ask(port), /^slot [01]$/)
    program.process.kill('SIGTERM')
    t.is(await program.exit(), 0)
  })
}

for (const kind of ['processes', 'processes without extension', 'threads']) {
  test(`a worker that starts its own file fails at once, and the error explains how one file can be both: ${kind}`, async (t) => {
    const program = run(t, 'fork-itself', { args: [kind] })
    t.is(await program.exit(), 0)
    const lines = program.lines.map((line) => JSON.parse(line))
    t.is(lines.filter((line) => 'started' in line).length, 1)
    const notReady = lines.find((line) => 'notReady' in line)
    t.regex(`${notReady?.notReady}${program.errors}`, /ERR_SOCKETSERVER_FORK_LOOP.*isWorker/s)
  })
}

for (const [where, options] of [
  ['execArgv', { execArgv: ['--inspect'] }],
  ['execArgv with a port', { execArgv: ['--inspect-port=9300', '--inspect'] }],
  ['NODE_OPTIONS', { env: { ...process.env, NODE_OPTIONS: '--inspect' } }],
] satisfies [string, ForkOptions][]) {
  // Serial: these tests share the debugger ports of this process.
  test.serial(`with --inspect in ${where} each slot has its own debugger port and keeps it`, async (t) => {
    await eachHasAPort(t, options)
  })
}

async function eachHasAPort(t: ExecutionContext, options: ForkOptions): Promise<void> {
  const server = startServer(t, { policy: 'round-robin' })
  const port = await listen(server)
  const { pool } = forkFixture(server, 'answer-identity', {
    workers: 2,
    restart: { minUptime: 0 },
    silent: true,
    ...options,
  })
  await pool.ready
  const ports = async (): Promise<unknown[]> => {
    const found = await identities(port, [0, 1])
    return [0, 1].map((slot) => found.get(slot)?.['port'])
  }
  const before = await ports()
  t.deepEqual(before, [process.debugPort + 1, process.debugPort + 2])
  await t.notThrowsAsync(debuggerAt(Number(before[0])))
  const back = new Promise((resolve) => server.on('worker', (worker) => worker.slot === 0 && resolve(worker)))
  pool.workers.find(({ slot }) => slot === 0)?.process.kill('SIGKILL')
  await back
  t.deepEqual(await ports(), before)
  await pool.reload()
  t.is(new Set(await ports()).size, 2)
  await server.close({ timeout: 0 })
}

function debuggerAt(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    get({ port, host: '127.0.0.1', path: '/json/version' }, (response) => {
      response.resume().on('end', resolve)
    }).on('error', reject)
  })
}
