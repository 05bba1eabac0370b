import { setTimeout as delay } from 'node:timers/promises'
import { loadTest } from '../helpers/conditional-test.js'
import { assertClean, Load } from '../helpers/load.js'
import { ordinaryUser, startParent } from '../helpers/parent.js'
import { processorTime } from '../helpers/processes.js'
import { until } from '../helpers/until.js'

// unix(7): descriptors under way are counted for each user over all processes, against the sender's limit of open files;
// one more, and sendmsg(2) fails with ETOOMANYREFS. The workers of one parent are stopped with 96 of them unreceived;
// then another parent of the same user, whose limit is 64, can send none.
loadTest('a user with too many descriptors under way has its clients wait, not fail', async (t) => {
  const other = await startParent(t, { fixture: 'tokens', workers: 3, ...ordinaryUser() })
  const parent = await startParent(t, { fixture: 'tokens', openFiles: 64, ...ordinaryUser() })
  for (const { port } of [other, parent]) {
    assertClean(t, await new Load(t, port, { connections: 50, clients: 10 }).report)
  }
  for (const pid of other.workers) process.kill(pid, 'SIGSTOP')
  const stuck = new Load(t, other.port, { connections: 100, clients: 100, timeout: 30_000 })
  await until(async () => (await other.stats()).accepted === 50 + 100)

  const clients = new Load(t, parent.port, { connections: 30, clients: 30, timeout: 30_000 })
  await until(async () => (await parent.stats()).accepted === 50 + 30)
  const before = processorTime(parent.pid)
  await delay(OBSERVED)
  const used = processorTime(parent.pid) - before
  const { queued, handedOff } = await parent.stats()
  t.deepEqual({ queued, handedOff }, { queued: 30, handedOff: 50 })
  t.true(used <= OBSERVED / 10, `${used} ms of processor time in ${OBSERVED} ms`)

  for (const pid of other.workers) process.kill(pid, 'SIGCONT')
  assertClean(t, await clients.report)
  assertClean(t, await stuck.report)
  t.deepEqual(parent.errors, [])
})

const OBSERVED = 500
