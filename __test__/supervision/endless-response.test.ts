// How a server that closes ends a response that never ends by itself, such as a stream of events.

import test from 'ava'
import { call } from '../helpers/caller.js'
import { linuxTest } from '../helpers/conditional-test.js'
import { requestText } from '../helpers/http.js'
import { isRunning } from '../helpers/processes.js'
import { run } from '../helpers/program.js'
import { serve, startThreads } from '../helpers/served.js'

/** Longer than any test. */
const NEVER = 120_000

for (const [where, start] of [
  ['process', serve],
  ['thread', startThreads],
] as const) {
  test(`close() ends an endless response of a ${where} after its timeout, without waiting for killTimeout`, async (t) => {
    const { server, port } = await start(t, 'stream-endless-events', {
      drainTimeout: NEVER,
      server: { killTimeout: NEVER },
    })
    const cuts: unknown[] = []
    server.on('cut', (_worker, info) => cuts.push(info))
    const caller = call(t, port).send(requestText('/events'))
    await caller.receives('data: event')
    await server.close({ timeout: 200 })
    t.regex(await caller.answer(), /data: event\n\n/)
    t.deepEqual(cuts, [{ connections: 1, reason: 'timeout' }])
  })
}

test('close() has the closeTimeout of its server by default', async (t) => {
  const options = { closeTimeout: 200, killTimeout: NEVER }
  const { server, port } = await serve(t, 'stream-endless-events', { drainTimeout: NEVER, server: options })
  const caller = call(t, port).send(requestText('/events'))
  await caller.receives('data: event')
  await server.close()
  t.is(server.stats().cut, 1)
})

linuxTest('SIGTERM to the parent ends an endless response by default, and the parent exits with 1', async (t) => {
  const parent = run(t, 'parent-with-signals-option', { args: ['stream-endless-events'], env: { KILL: '5000' } })
  const { port, pids }: { port: number; pids: number[] } = JSON.parse(await parent.line())
  const caller = call(t, port).send(requestText('/events'))
  await caller.receives('data: event')
  const stoppedAt = performance.now()
  parent.process.kill('SIGTERM')
  await caller.answer()
  t.log(`ended after ${Math.round(performance.now() - stoppedAt)} ms`)
  t.is(await parent.exit(), 1)
  t.log(`exited after ${Math.round(performance.now() - stoppedAt)} ms`)
  t.false(pids.some(isRunning))
})
