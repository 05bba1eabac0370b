import { call } from '../helpers/caller.js'
import { linuxTest } from '../helpers/conditional-test.js'
import { startParent } from '../helpers/parent.js'
import { isRunning, isStopped, threads } from '../helpers/processes.js'
import { stop } from '../helpers/stop.js'
import { until } from '../helpers/until.js'

linuxTest('workers continue while their parent is stopped, and no connection is lost', async (t) => {
  const parent = await startParent(t, { fixture: 'end-one-by-one' })
  const [worker = 0] = parent.workers
  const callers = Array.from({ length: HELD }, () => call(t, parent.port))
  await until(async () => (await parent.stats()).leases === HELD)
  const before = threads(worker)
  await stop(t, parent.pid)
  // In the kernel's backlog until the parent continues.
  const late = Array.from({ length: 20 }, () => call(t, parent.port).send('release\n'))

  // The worker sends more than the channel holds: 278 messages (unix(7), measured).
  callers[0]?.send('release\n')
  const longest = (await Promise.all(callers.map((caller) => caller.answer()))).map(Number)
  // A worker that waited for the full channel would do so until the parent continues.
  t.true(Math.max(...longest) < 20_000, `the event loop was blocked for ${Math.max(...longest)} ms`)
  t.true(threads(worker) <= before + 1, `${threads(worker)} threads instead of ${before}`)
  t.true(isStopped(parent.pid))

  process.kill(parent.pid, 'SIGCONT')
  for (const caller of late) t.true((await caller.answer()).length > 0)
  await until(async () => (await parent.stats()).leases === 0)
  t.is((await parent.stats()).handedOff, HELD + late.length)
  // The threads that close descriptors end after some idle time.
  await until(() => threads(worker) <= before)
  t.log(`the worker's event loop was blocked for ${Math.max(...longest).toFixed(1)} ms at most`)
})

linuxTest('a worker can exit while its parent is stopped', async (t) => {
  const parent = await startParent(t, { fixture: 'end-one-by-one', env: { LEAVE: '1' } })
  const callers = Array.from({ length: HELD }, () => call(t, parent.port))
  await until(async () => (await parent.stats()).leases === HELD)
  await stop(t, parent.pid)
  callers[0]?.send('release\n')
  // The last answer is sent in the turn after the worker has written to a full channel that it leaves.
  for (const caller of callers) await caller.answer()
  t.true(isStopped(parent.pid))

  process.kill(parent.pid, 'SIGCONT')
  await until(() => parent.workers.every((pid) => !isRunning(pid)))
  t.is((await parent.stats()).leases, 0)
})

const HELD = 600
