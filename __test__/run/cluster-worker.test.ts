// Tests `cluster.worker` in an app under server.run().

import { once } from 'node:events'
import test from 'ava'
import { runApp } from '../helpers/run-app.js'
import { within } from '../helpers/within.js'
import { writeApp } from '../helpers/write-app.js'

test('cluster.worker receives and sends messages', async (t) => {
  const app = writeApp(
    t,
    `const { worker } = require('node:cluster')
     require('node:http').createServer().listen(0)
     worker.on('message', (message) => worker.send({ event: 'heard', message }))
     worker.send({ event: 'state', isConnected: worker.isConnected(), isDead: worker.isDead(), id: worker.id })`,
  )
  const { pool, reports } = await runApp(t, app, { workers: 1 })
  t.like(await reports.next('state'), { isConnected: true, isDead: false, id: pool.workers[0]?.id })
  pool.workers[0]?.process?.send('hello')
  t.is((await reports.next('heard'))['message'], 'hello')
})

for (const [call, closes] of [
  ['disconnect()', true],
  ['kill()', false],
] as const) {
  test(`cluster.worker.${call} ends the worker${closes ? ' after its servers have closed' : ''}, and a new worker starts`, async (t) => {
    const app = writeApp(
      t,
      `const { worker } = require('node:cluster')
       const server = require('node:http').createServer().listen(0)
       server.on('close', () => process.send({ event: 'closed' }))
       process.on('message', () => worker.${call})
       worker.on('disconnect', () => process.exit(worker.exitedAfterDisconnect ? 7 : 1))`,
    )
    const { server, pool, reports } = await runApp(t, app, { workers: 1, restart: { minDelay: 1 } })
    const child = pool.workers[0]?.process
    if (child === undefined) return t.fail()
    const exited = once(child, 'exit')
    const restarted = once(server, 'worker')
    child.send('leave')
    const [code] = await within(exited, 'the exit of the worker')
    t.is(code, 7)
    t.is(reports.count('closed'), closes ? 1 : 0)
    await within(restarted, 'the successor')
  })
}
