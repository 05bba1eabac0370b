// Reloads, resizes and a worker that is killed, under load: nothing is lost but what the killed worker held.

import type { Pool, Server, WorkerHandle } from '@socketserver/node'
import type { ExecutionContext } from 'ava'
import { loadSerial } from '../helpers/conditional-test.js'
import { assertClean, Load } from '../helpers/load.js'
import { serve, startThreads } from '../helpers/served.js'
import { until } from '../helpers/until.js'

const REQUESTS = Number(process.env['SOCKETSERVER_TEST_REQUESTS'] ?? 5000)

/** Reloads and resizes without pause until the load is over; how often it has reloaded. */
async function shake(pool: Pool<WorkerHandle>, over: Promise<unknown>): Promise<number> {
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

function settled(t: ExecutionContext, server: Server): void {
  const { cut, shed, leases, queued } = server.stats()
  t.deepEqual({ cut, shed, leases, queued }, { cut: 0, shed: 0, leases: 0, queued: 0 })
}

for (const kind of ['processes', 'threads'] as const) {
  const start = kind === 'processes' ? serve : startThreads

  loadSerial(`no connection is lost while ${kind} are reloaded and resized`, async (t) => {
    const { server, pool, port } = await start(t, 'tokens', { workers: 3 })
    const load = new Load(t, port, { connections: REQUESTS, clients: 16 })
    const reloads = await shake(pool, load.report)
    assertClean(t, await load.report)
    t.true(reloads > 0)
    t.log(`${reloads} reloads`)
    await until(() => server.stats().leases === 0)
    settled(t, server)
  })

  loadSerial(`no request on a kept connection is lost while ${kind} are reloaded and resized`, async (t) => {
    const { server, pool, port } = await start(t, 'serve-http-tokens', { workers: 3 })
    const fast = new Load(t, port, { connections: REQUESTS, clients: 16, body: 2000 }, 'http')
    const slow = new Load(t, port, { connections: 200, clients: 20, rate: 50, body: 50_000 }, 'http')
    const reloads = await shake(pool, Promise.all([fast.report, slow.report]))
    assertClean(t, await fast.report)
    assertClean(t, await slow.report)
    t.true(reloads > 0)
    t.log(`${reloads} reloads`)
    await until(() => server.stats().leases === 0)
    settled(t, server)
  })
}

for (const kind of ['processes', 'threads'] as const) {
  const start = kind === 'processes' ? serve : startThreads

  loadSerial(
    `of ${kind} that are killed amid all that no more is lost than what they held, and that is told`,
    async (t) => {
      const env = { ...process.env, DELAY: '3' }
      const { server, pool, port } = await start(t, 'serve-http-tokens', { workers: 3, env })
      // A worker that is killed before it is ready fails whatever waits for it; the load must not notice.
      server.on('error', () => {})
      const kept = new Load(t, port, { connections: REQUESTS, clients: 16, body: 2000 }, 'http')
      const slow = new Load(t, port, { connections: 200, clients: 20, rate: 50 }, 'http')
      const over = Promise.all([kept.report, slow.report])
      const shaken = shake(pool, over)
      let kills = 0
      for (; kills < 5; kills++) {
        const { handedOff } = server.stats()
        await until(() => server.stats().handedOff > handedOff + 10)
        const ready = pool.workers.filter(({ state }) => state === 'ready')
        const victim = ready[Math.floor(Math.random() * ready.length)]
        victim?.process?.kill('SIGKILL')
        void victim?.thread?.terminate()
      }
      t.log(`${await shaken} reloads, ${kills} kills`)
      const { cut } = server.stats()
      let lost = 0
      for (const { total, outcomes, answered_twice } of await over) {
        const { ok, empty, reset, ...others } = outcomes
        lost += empty + reset
        t.is(total, ok + empty + reset)
        t.deepEqual({ ...others, answered_twice }, { ...NOTHING, answered_twice: 0 })
      }
      t.log(`${lost} requests lost with ${cut} connections`)
      // A kept connection may have been idle, or answered, when it was cut.
      t.true(lost <= cut)
    },
  )
}

const NOTHING = { refused: 0, wrong: 0, doubled: 0, timeout: 0, dropped: 0 }
