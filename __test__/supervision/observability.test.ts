import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { WorkerHandle } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { ask } from '../helpers/caller.js'
import { fixture } from '../helpers/fixture.js'
import { run } from '../helpers/program.js'
import { listen, serve, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

test('every change of state emits transition and a diagnostics message', async (t) => {
  const server = startServer(t)
  await listen(server)
  const began = Date.now()
  const events: string[] = []
  const messages: string[] = []
  const receive = (message: unknown): void => {
    const { worker, from, to }: { worker: WorkerHandle; from: string; to: string } = Object(message)
    if (worker.process?.spawnfile && server.stats() && mine.has(worker)) messages.push(`${worker.id} ${from} ${to}`)
  }
  const mine = new Set<WorkerHandle>()
  subscribe('socketserver:worker:state', receive)
  t.teardown(() => unsubscribe('socketserver:worker:state', receive))
  server.on('start', (worker) => {
    mine.add(worker)
    events.push(`${worker.id} start`)
    t.is(worker.state, 'starting')
  })
  server.on('transition', ({ id, state, since }, from) => {
    events.push(`${id} ${from} ${state}`)
    t.true(since.getTime() >= began && since.getTime() <= Date.now())
  })
  const pool = server.fork(fixture('answer-tokens'), { workers: 1, execArgv: [] })
  await pool.ready
  await pool.resize(0)
  t.deepEqual(events, ['1 start', '1 starting ready', '1 ready draining', '1 draining exited'])
  t.deepEqual(messages, events.slice(1))
})

test('handles count leases and handled connections, and stats() counts workers by state', async (t) => {
  const { server, pool, port } = await serve(t, 'answer-tokens', { workers: 2 })
  for (let i = 0; i < 10; i++) await ask(port, 'token\n')
  await until(() => pool.workers.reduce((sum, { handled }) => sum + handled, 0) === 10)
  t.like(server.stats(), { states: { starting: 0, ready: 2, draining: 0 }, restarts: 0, reloads: 0, stalls: 0, cut: 0 })
  const [first] = pool.workers
  const { handled = 0 } = first ?? {}
  await pool.resize(0)
  t.is(first?.handled, handled, 'the count of an exited worker does not change')
  t.is(first?.leases, 0)
})

async function debugOutput(t: ExecutionContext, debug: string): Promise<string> {
  const parent = run(t, 'parent-of-fixture', { args: ['answer-tokens', '1'], env: { NODE_DEBUG: debug } })
  const { port }: { port: number } = JSON.parse(await parent.line())
  await ask(port, 'token\n')
  parent.process.kill('SIGTERM')
  await parent.exit()
  return parent.errors
}

test('NODE_DEBUG=socketserver logs each step of a connection and of its worker', async (t) => {
  const text = await debugOutput(t, 'socketserver')
  for (const words of [
    /worker 1 \(pid \d+\) of .*tokens\.js starts, generation 1/,
    /worker 1 \(pid \d+\) is ready, was starting/,
    /connection 1 is accepted/,
    /connection 1 is handed to worker 1 \(pid \d+\)/,
    /connection 1 is taken\n/,
    /connection 1 from 127\.0\.0\.1 is taken, having waited/,
    /connection 1 is over/,
    /the channel to the server is retired/,
    /worker 1 \(pid \d+\) is exited, was draining/,
  ]) {
    t.regex(text, words)
  }
  t.is(await debugOutput(t, 'net-something'), '')
})
