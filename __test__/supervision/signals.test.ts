import type { ExecutionContext } from 'ava'
import { call } from '../helpers/caller.js'
import { linuxTest } from '../helpers/conditional-test.js'
import { isRunning } from '../helpers/processes.js'
import { type Program, run } from '../helpers/program.js'
import { until } from '../helpers/until.js'

interface Started {
  parent: Program
  port: number
  pids: number[]
}

async function start(t: ExecutionContext, delay: number, ...more: string[]): Promise<Started> {
  const args = ['answer-in-halves', ...more]
  const parent = run(t, 'parent-with-signals-option', { args, env: { DELAY: String(delay) } })
  const { port, pids }: { port: number; pids: number[] } = JSON.parse(await parent.line())
  return { parent, port, pids }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  linuxTest(`${signal} to parent and workers drains and closes the server, and the parent exits with 0`, async (t) => {
    const { parent, port, pids } = await start(t, 300)
    const caller = call(t, port).send('words')
    await caller.receives('first half')
    for (const pid of [...pids, parent.process.pid ?? 0]) process.kill(pid, signal)
    t.is(await caller.answer(), 'first half, second half of words')
    t.is(await parent.exit(), 0)
    t.true(parent.lines.includes('"closed"'))
    await until(() => !pids.some(isRunning))
  })
}

linuxTest('the second signal ends the parent at once with 128 plus the number of the signal', async (t) => {
  const { parent, port, pids } = await start(t, 60_000)
  const caller = call(t, port).send('words')
  await caller.receives('first half')
  parent.process.kill('SIGINT')
  await t.throwsAsync(until(() => parent.process.exitCode !== null, { timeout: 300 }))
  parent.process.kill('SIGTERM')
  t.is(await parent.exit(), 143)
  await until(() => !pids.some(isRunning))
})

linuxTest('a parent that something else keeps alive exits too', async (t) => {
  const { parent } = await start(t, 0, 'lively')
  parent.process.kill('SIGTERM')
  t.is(await parent.exit(), 0)
})

linuxTest('without the signals option, signals have their default effect', async (t) => {
  const parent = run(t, 'parent-of-fixture', { args: ['answer-tokens', '1'] })
  const { pids }: { pids: number[] } = JSON.parse(await parent.line())
  process.kill(pids[0] ?? 0, 'SIGINT')
  await until(() => !isRunning(pids[0] ?? 0))
  parent.process.kill('SIGINT')
  t.is(await parent.exit(), 'SIGINT')
})

linuxTest('the exit code is 1 if closing cut connections', async (t) => {
  const { parent, port, pids } = await start(t, 60_000)
  const caller = call(t, port).send('words')
  await caller.receives('first half')
  parent.process.kill('SIGTERM')
  t.is(await parent.exit(), 1)
  t.is(await caller.answer().catch(() => ''), 'first half, ')
  await until(() => !pids.some(isRunning))
})
