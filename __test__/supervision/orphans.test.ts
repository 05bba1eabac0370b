// Workers end by themselves when their parent has been killed.

import { call } from '../helpers/caller.js'
import { linuxTest } from '../helpers/conditional-test.js'
import { isRunning } from '../helpers/processes.js'
import { run } from '../helpers/program.js'
import { until } from '../helpers/until.js'

linuxTest(
  'orphans end their connections after drainTimeout, and exit even if something else keeps them alive',
  async (t) => {
    const parent = run(t, 'parent-with-timeouts', { args: ['keep-connections'], env: { DRAIN: '700', KILL: '200' } })
    const { port, pids }: { port: number; pids: number[] } = JSON.parse(await parent.line())
    const callers = [1, 2, 3, 4].map(() => call(t, port))
    for (const caller of callers) await caller.receives('kept')
    const killed = performance.now()
    parent.process.kill('SIGKILL')
    for (const caller of callers) t.is(await caller.answer(), 'kept\n')
    t.true(performance.now() - killed >= 690)
    await until(() => !pids.some(isRunning))
    const gone = performance.now() - killed
    t.true(gone >= 2090, 'they had a second and twice killTimeout to exit by themselves')
    t.log(`gone after ${gone.toFixed(0)} ms`)
  },
)

linuxTest('an orphan ends by SIGTERM, although it left signals to its parent before', async (t) => {
  const parent = run(t, 'parent-with-signals-option', { args: ['keep-connections'], env: { DRAIN: '20000' } })
  const { port, pids }: { port: number; pids: number[] } = JSON.parse(await parent.line())
  const caller = call(t, port)
  await caller.receives('kept')
  for (const pid of pids) process.kill(pid, 'SIGTERM')
  await t.throwsAsync(until(() => !pids.every(isRunning), { timeout: 300 }))
  parent.process.kill('SIGKILL')
  await until(() => !isRunning(parent.process.pid ?? 0))
  await until(
    () => {
      for (const pid of pids) if (isRunning(pid)) process.kill(pid, 'SIGTERM')
      return !pids.some(isRunning)
    },
    // After drainTimeout the workers would end without a signal.
    { timeout: 10_000 },
  )
})
