// Reloads and resizes under full load lose nothing. With kills as well: soak.test.ts.

import type { Pool, Server, WorkerHandle } from '@socketserver/node'
import type { ExecutionContext } from 'ava'
import { loadSerial } from '../helpers/conditional-test.js'
import { assertClean, Load } from '../helpers/load.js'
import { serve, startThreads } from '../helpers/served.js'
import { until } from '../helpers/until.js'

const REQUESTS = Number(process.env['SOCKETSERVER_TEST_REQUESTS'] ?? 5000)

/** Reloads and resizes without pause until the load is over. Returns the number of reloads. */
async function reloadAndResize(pool: Pool<WorkerHandle>, over: Promise<unknown>): Promise<number> {
  let isOver = false
  void over.finally(() => {
    isOver = true
  })
  let reloads = 0
  const steps = [() => pool.resize(5), () => pool.reload({ atOnce: 2 }), () => pool.resize(3), () => pool.reload()]
  while (!isOver) {
    for (const step of steps) await step().catch(() => {})
    reloads += 2
  }
  return reloads
}

function assertNothingLost(t: ExecutionContext, server: Server): void {
  const { cut, shed, leases, queued } = server.stats()
  t.deepEqual({ cut, shed, leases, queued }, { cut: 0, shed: 0, leases: 0, queued: 0 })
}

for (const kind of ['processes', 'threads'] as const) {
  const start = kind === 'processes' ? serve : startThreads

  loadSerial(`no connection is lost while ${kind} are reloaded and resized`, async (t) => {
    const { server, pool, port } = await start(t, 'answer-tokens', { workers: 3 })
    const load = new Load(t, port, { connections: REQUESTS, clients: 16 })
    const reloads = await reloadAndResize(pool, load.report)
    assertClean(t, await load.report)
    t.true(reloads > 0)
    t.log(`${reloads} reloads`)
    await until(() => server.stats().leases === 0)
    assertNothingLost(t, server)
  })

  loadSerial(`no request on a kept connection is lost while ${kind} are reloaded and resized`, async (t) => {
    const { server, pool, port } = await start(t, 'serve-http-tokens', { workers: 3 })
    const fast = new Load(t, port, { connections: REQUESTS, clients: 16, body: 2000 }, 'http')
    const slow = new Load(t, port, { connections: 200, clients: 20, rate: 50, body: 50_000 }, 'http')
    const reloads = await reloadAndResize(pool, Promise.all([fast.report, slow.report]))
    assertClean(t, await fast.report)
    assertClean(t, await slow.report)
    t.true(reloads > 0)
    t.log(`${reloads} reloads`)
    await until(() => server.stats().leases === 0)
    assertNothingLost(t, server)
  })
}
