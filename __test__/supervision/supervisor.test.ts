// A server has closed only after all connections that its workers lost have been reported.

import { EventEmitter } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import test from 'ava'
import type { WorkerExit } from '../../dist/lib/server/worker/worker-runtime.js'
import { library } from '../helpers/library.js'
import { noFacts } from '../helpers/no-facts.js'

const { Supervisor } = library('server/pool/supervisor')
const { parsePoolOptions } = library('server/pool/pool-options')

interface Setup {
  supervisor: InstanceType<typeof Supervisor>
  exit: () => void
}

/** Makes a supervisor of one worker whose native side sends no notices. */
function supervisorOfOneWorker(): Setup {
  const native = {
    retire: () => {},
    endChannel: () => {},
    closeWorkerEnd: () => {},
    channelStats: () => null,
    utilization: () => null,
    setSlots: () => {},
  }
  const supervisor = new Supervisor({
    events: new EventEmitter(),
    native,
    facts: noFacts(),
    appMetrics: { addProcess: () => {}, addThread: () => {}, remove: () => {} },
    name: 'server',
    addresses: () => [],
    adopted: () => [],
    ignoreSignals: false,
  })
  let exit = (): void => {}
  const exited = new Promise<WorkerExit>((resolve) => {
    exit = () => resolve({ code: 0, signal: null, cause: undefined })
  })
  const runtime = {
    exited,
    pid: undefined,
    threadId: undefined,
    process: undefined,
    thread: undefined,
    lastLines: '',
    reference: () => {},
    terminate: () => {},
    kill: () => {},
  }
  const { settings } = parsePoolOptions({ restart: false }, 1000, { known: [] })
  supervisor.startPool('entry.js', 1, settings, () => ({ channel: 7, runtime })).ready.catch(() => {})
  return { supervisor, exit }
}

async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  void promise.then(() => {
    settled = true
  })
  for (let i = 0; i < 5; i++) await turn()
  return settled
}

test('stop() waits for the end of the channel of a worker that has exited first', async (t) => {
  const { supervisor, exit } = supervisorOfOneWorker()
  const stopped = supervisor.stop(() => 1000)
  exit()
  t.false(await isSettled(stopped))
  supervisor.worker(7)?.channelEnded(3)
  t.true(await isSettled(stopped))
})

test('stop() waits for the exit of a worker whose channel has ended first', async (t) => {
  const { supervisor, exit } = supervisorOfOneWorker()
  const stopped = supervisor.stop(() => 1000)
  supervisor.worker(7)?.channelEnded(3)
  t.false(await isSettled(stopped))
  exit()
  t.true(await isSettled(stopped))
})

test('stop() waits for no channel once the native side has ended', async (t) => {
  const { supervisor, exit } = supervisorOfOneWorker()
  const stopped = supervisor.stop(() => 1000)
  exit()
  t.false(await isSettled(stopped))
  supervisor.kill()
  t.true(await isSettled(stopped))
})
