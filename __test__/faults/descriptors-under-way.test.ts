import { setTimeout as delay } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { ask } from '../helpers/caller.js'
import { loadSerial } from '../helpers/conditional-test.js'
import { assertClean, Load, type LoadReport } from '../helpers/load.js'
import { ordinaryUser, type Parent, startParent } from '../helpers/parent.js'
import { processorTime } from '../helpers/processes.js'
import { stop } from '../helpers/stop.js'
import { until } from '../helpers/until.js'

// unix(7): descriptors under way are counted for each user over all processes, against the sender's limit of open files;
// one more, and sendmsg(2) fails with ETOOMANYREFS. The workers of one parent are stopped with 96 of them unreceived;
// then another parent of the same user, whose limit is 64, can send none.

loadSerial('a user with too many descriptors under way has its clients wait, not fail', async (t) => {
  const parent = await startParent(t, { fixture: 'tokens', openFiles: 64, ...ordinaryUser() })
  assertClean(t, await new Load(t, parent.port, { connections: 50, clients: 10 }).report)
  const other = await hog(t)

  const clients = new Load(t, parent.port, { connections: 15, clients: 15, timeout: 30_000 })
  await until(async () => (await parent.stats()).accepted === 50 + 15)
  const before = processorTime(parent.pid)
  await delay(OBSERVED)
  const used = processorTime(parent.pid) - before
  const { queued, handedOff } = await parent.stats()
  t.deepEqual({ queued, handedOff }, { queued: 15, handedOff: 50 })
  t.true(used <= OBSERVED / 10, `${used} ms of processor time in ${OBSERVED} ms`)

  other.release()
  assertClean(t, await clients.report)
  assertClean(t, await other.report)
  t.deepEqual(parent.errors, [])
})

loadSerial('a worker can start while its user has too many descriptors under way', async (t) => {
  const other = await hog(t)
  const parent = await startParent(t, { fixture: 'tokens', openFiles: 64, ...ordinaryUser() })
  const answer = ask(parent.port, 'token\n')
  await until(async () => (await parent.stats()).accepted === 1)
  other.release()
  t.is(await answer, `${parent.workers[0]} token\n`)
  assertClean(t, await other.report)
  t.deepEqual(parent.errors, [])
})

/** Has 96 descriptors under way until `release()`; the report is of those clients, who are all answered then. */
async function hog(t: ExecutionContext): Promise<{ release: () => void; report: Promise<LoadReport> }> {
  const parent: Parent = await startParent(t, { fixture: 'tokens', workers: 3, ...ordinaryUser() })
  assertClean(t, await new Load(t, parent.port, { connections: 50, clients: 10 }).report)
  for (const pid of parent.workers) await stop(t, pid)
  const { report } = new Load(t, parent.port, { connections: 100, clients: 100, timeout: 30_000 })
  await until(async () => (await parent.stats()).accepted === 50 + 100)
  const release = (): void => parent.workers.forEach((pid) => void process.kill(pid, 'SIGCONT'))
  return { release, report }
}

const OBSERVED = 500
