// `/livez` of parents whose event loop is blocked, waits for events, or has been blocked before.

import { setTimeout as delay } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { call } from '../helpers/caller.js'
import { type Answer, fetchOnce } from '../helpers/http.js'
import { type Program, run } from '../helpers/program.js'
import { blocking } from '../helpers/unblock.js'
import { until } from '../helpers/until.js'

interface Parent {
  program: Program
  /** Requests a path of the admin listener. */
  get: (path: string) => Promise<Answer>
  /** Blocks the event loop in a callback of this kind. */
  block: (callback: 'timer' | 'socket') => Promise<void>
  unblock: () => void
}

async function startParent(t: ExecutionContext, livenessTimeout: number): Promise<Parent> {
  const { env, unblock } = blocking(t)
  const program = run(t, 'parent-that-blocks', { args: [String(livenessTimeout)], env })
  const { admin, commands }: Record<'admin' | 'commands', { port: number }> = JSON.parse(await program.line())
  return {
    program,
    get: async (path) => await fetchOnce(admin.port, { path }),
    block: async (callback) => {
      call(t, commands.port).send(callback)
      t.is(await program.line(), 'blocked')
    },
    unblock,
  }
}

for (const callback of ['timer', 'socket'] as const) {
  test(`the first probe fails after the event loop has been blocked in the callback of a ${callback}`, async (t) => {
    const { get, block, unblock } = await startParent(t, 1000)
    await block(callback)
    await delay(1100)
    const { status, body } = await get('/livez')
    t.is(status, 503)
    t.regex(body, /^\[-\] the event loop of the parent has not turned for \d+ s\n$/)
    t.is((await get('/metrics')).status, 200)
    t.is((await get('/status.json')).status, 200)
    unblock()
    // Nothing wakes the event loop after the callback.
    await until(async () => (await get('/livez')).status === 200)
  })
}

test('the first probe succeeds after the event loop has waited for events longer than the limit', async (t) => {
  const { get } = await startParent(t, 2000)
  await delay(2500)
  t.is((await get('/livez')).status, 200)
})
