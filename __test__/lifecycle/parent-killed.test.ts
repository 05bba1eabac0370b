import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { linuxTest } from '../helpers/conditional-test.js'
import { startParent } from '../helpers/parent.js'
import { isRunning } from '../helpers/processes.js'
import { run } from '../helpers/program.js'
import { stop } from '../helpers/stop.js'
import { blocking } from '../helpers/unblock.js'
import { until } from '../helpers/until.js'

linuxTest('workers of a killed parent finish their answers, close and exit', async (t) => {
  const parent = await startParent(t, { fixture: 'answer-in-halves', workers: 3, env: { DELAY: '500' } })
  const callers = Array.from({ length: 12 }, (_, index) => call(t, parent.port).send(`line ${index}\n`))
  await Promise.all(callers.map((caller) => caller.receives('first half')))
  const killed = performance.now()
  parent.program.process.kill('SIGKILL')
  for (const [index, caller] of callers.entries()) {
    t.is(await caller.answer(), `first half, second half of line ${index}`)
  }
  await until(() => parent.workers.every((pid) => !isRunning(pid)))
  t.log(`all gone ${(performance.now() - killed).toFixed(0)} ms after the kill, which is 500 ms for the answers`)
  await until(() => parent.program.lines.length === 4)
  t.deepEqual(parent.program.lines.slice(1).sort(), parent.workers.map((pid) => `close ${pid}`).sort())
})

linuxTest('a worker of a killed parent answers the connections that it had received but not taken', async (t) => {
  const { env, unblock } = blocking(t)
  const parent = await startParent(t, { fixture: 'answer-in-halves', env: { ...env, DELAY: '50' } })
  const [worker = 0] = parent.workers
  const blocker = call(t, parent.port).send('block\n')
  await blocker.receives('first half')
  const callers = Array.from({ length: 10 }, (_, index) => call(t, parent.port).send(`line ${index}\n`))
  await until(async () => (await parent.stats()).accepted === 1 + callers.length)
  const { queued, handedOff } = await parent.stats()
  t.deepEqual({ queued, handedOff }, { queued: 0, handedOff: 1 })
  parent.program.process.kill('SIGKILL')
  await parent.program.exit()
  unblock()
  for (const [index, caller] of callers.entries()) {
    t.is(await caller.answer(), `first half, second half of line ${index}`)
  }
  t.is(await blocker.answer(), 'first half, second half of block')
  await until(() => !isRunning(worker))
})

// The parent dies with unread data from the worker, which the worker sees as an error of the channel (POLLERR), while
// there is more to read than one read returns.
linuxTest(
  'a worker that is far behind when its parent is killed answers everything it was sent and exits',
  async (t) => {
    const { env, unblock } = blocking(t)
    const parent = await startParent(t, { fixture: 'block-at-second', env })
    const [worker = 0] = parent.workers
    await call(t, parent.port).send('warm\n').answer()
    await stop(t, worker)
    const callers = []
    for (let index = 0; index < 30; index++) {
      callers.push(call(t, parent.port).send(`token-${index}\n`))
      await until(async () => (await parent.stats()).accepted === 1 + callers.length)
    }
    await stop(t, parent.pid)
    process.kill(worker, 'SIGCONT')
    await until(() => parent.program.lines.includes('blocked'))
    parent.program.process.kill('SIGKILL')
    await parent.program.exit()
    unblock()
    for (const [index, caller] of callers.entries()) t.is(await caller.answer(), `${worker} token-${index}\n`)
    await until(() => !isRunning(worker))
  },
)

linuxTest('idle workers exit at once when the parent is killed', async (t) => {
  const parent = await startParent(t, { fixture: 'answer-in-halves', workers: 2, env: { DELAY: '0' } })
  const killed = performance.now()
  parent.program.process.kill('SIGKILL')
  // Less than drainTimeout.
  await until(() => parent.workers.every((pid) => !isRunning(pid)), { timeout: 20_000 })
  t.log(`gone after ${(performance.now() - killed).toFixed(0)} ms`)
  await until(() => parent.program.lines.filter((line) => line.startsWith('close')).length === 2)
  t.pass()
})

test('workers of a parent that has exited finish their leases, get an error and exit', async (t) => {
  const parent = run(t, 'exit-parent-on-message')
  const port = Number(await parent.line())
  const caller = call(t, port).send('exit')
  t.is(await parent.exit(), 7)
  await until(() => parent.lines.includes('ERR_SOCKETSERVER_CONNECTION_LOST'))
  t.false(parent.lines.includes('close'), 'not while there is a lease')
  caller.send('question')
  t.is(await caller.answer(), 'answer to question')
  await until(() => parent.lines.includes('close'))
  // The worker holds the writing end of this pipe, which ends when the worker exits.
  await until(() => parent.process.stdout?.readableEnded ?? false)
  await t.throwsAsync(ask(port), { code: 'ECONNREFUSED' })
})
