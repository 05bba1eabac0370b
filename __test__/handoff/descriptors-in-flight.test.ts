import { setTimeout as delay } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { ask } from '../helpers/caller.js'
import { loadSerial } from '../helpers/conditional-test.js'
import { assertClean, Load } from '../helpers/load.js'
import { ordinaryUser, startParent } from '../helpers/parent.js'
import { processorTime } from '../helpers/processes.js'
import { run } from '../helpers/program.js'
import { until } from '../helpers/until.js'

// unix(7): descriptors in flight are counted per user over all processes, against the sender's limit of open files;
// beyond it sendmsg(2) fails with ETOOMANYREFS. One program leaves 200 of them unreceived; then a parent of the same user,
// whose limit is 96, cannot send any.

loadSerial('clients wait without an error while the user has too many descriptors in flight', async (t) => {
  const parent = await startParent(t, { fixture: 'answer-tokens', openFiles: 96, ...ordinaryUser() })
  assertClean(t, await new Load(t, parent.port, { connections: 50, clients: 10 }).report)
  const other = await keepInFlight(t)

  const clients = new Load(t, parent.port, { connections: 30, clients: 30, timeout: 30_000 })
  await until(async () => (await parent.stats()).accepted === 50 + 30)
  const before = processorTime(parent.pid)
  await delay(OBSERVED)
  const used = processorTime(parent.pid) - before
  const { queued, handedOff } = await parent.stats()
  t.deepEqual({ queued, handedOff }, { queued: 30, handedOff: 50 })
  t.true(used <= OBSERVED / 10, `${used} ms of processor time in ${OBSERVED} ms`)

  other.release()
  assertClean(t, await clients.report)
  t.deepEqual(parent.errors, [])
})

loadSerial('a worker can start while its user has too many descriptors in flight', async (t) => {
  const other = await keepInFlight(t)
  const parent = await startParent(t, { fixture: 'answer-tokens', openFiles: 96, ...ordinaryUser() })
  const answer = ask(parent.port, 'token\n')
  await until(async () => (await parent.stats()).accepted === 1)
  other.release()
  t.is(await answer, `${parent.workers[0]} token\n`)
  t.deepEqual(parent.errors, [])
})

/** Keeps 200 descriptors in flight until `release()`. */
async function keepInFlight(t: ExecutionContext): Promise<{ release: () => void }> {
  const program = run(t, 'leave-descriptors-in-flight', ordinaryUser())
  await program.line()
  return { release: () => void program.process.kill('SIGKILL') }
}

const OBSERVED = 500
