// HAProxy's agent-check: one line per connection.

import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { portOf, serve, startServer } from '../helpers/served.js'
import { stop } from '../helpers/stop.js'
import { until } from '../helpers/until.js'

/** Returns the weight in an answer of the agent. */
function weightOf(answer: string): number {
  return Number(/^up ready (\d+)%/.exec(answer)?.[1])
}

test('the agent reports up with the share of workers that take connections', async (t) => {
  const { server, pool, port } = await serve(t, 'echo', { workers: 2 })
  const agent = portOf(await server.agent({ port: 0 }))
  t.is(await ask(agent), 'up ready 100%\n')
  const [first] = pool.workers
  await stop(t, first?.pid ?? 0)
  // The stopped worker does not take connections, so the parent detects that the worker is stalled.
  await until(async () => {
    call(t, port).send('words')
    return weightOf(await ask(agent)) < 100
  })
  // The time constant of the smoothing is 2 s.
  await until(async () => weightOf(await ask(agent)) === 50)
  t.pass()
})

test('the agent reports the share of the workers smoothed, and the limit of connections at once', async (t) => {
  const { server, pool } = await serve(t, 'echo', { workers: 2, restart: false })
  const agent = portOf(await server.agent({ port: 0, concurrency: 30 }))
  t.is(await ask(agent), 'up ready 100% maxconn:60\n')
  const [first] = pool.workers
  process.kill(first?.pid ?? 0, 'SIGKILL')
  await until(async () => (await ask(agent)).endsWith(' maxconn:30\n'))
  const weight = weightOf(await ask(agent))
  t.true(weight > 50 && weight <= 100, `${weight} %: half of the workers are gone, but only just`)
})

test('the agent answers without a request', async (t) => {
  const { server } = await serve(t, 'echo')
  const agent = portOf(await server.agent({ port: 0 }))
  t.is(await call(t, agent).answer(), 'up ready 100%\n')
})

test('the agent reports drain while the server drains', async (t) => {
  const { server, port } = await serve(t, 'echo')
  const agent = portOf(await server.agent({ port: 0 }))
  const caller = call(t, port).send('words')
  await caller.receives('words')
  const drained = server.drain()
  t.is(await ask(agent), 'drain\n')
  caller.disconnect()
  await drained
})

test('the agent reports down after a second without a ready worker', async (t) => {
  const { server, pool } = await serve(t, 'echo')
  const agent = portOf(await server.agent({ port: 0 }))
  await pool.close()
  // The first value is not smoothed.
  t.is(await ask(agent), 'up ready 1%\n')
  await until(async () => (await ask(agent)) === 'down#no ready worker\n')
  t.pass()
})

test('the error for an invalid option of the agent contains its name', async (t) => {
  const server = startServer(t)
  await t.throwsAsync(async () => Reflect.apply(server.agent, server, [{ port: 0, hosts: [] }]), {
    code: 'ERR_INVALID_ARG_VALUE',
    message: /options\.hosts/,
  })
  await t.throwsAsync(async () => server.agent({ port: 0, concurrency: 0 }), {
    code: 'ERR_OUT_OF_RANGE',
    message: /options\.concurrency/,
  })
})
