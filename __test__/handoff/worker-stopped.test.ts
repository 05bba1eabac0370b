import { ask, call } from '../helpers/caller.js'
import { linuxTest } from '../helpers/conditional-test.js'
import { startParent } from '../helpers/parent.js'
import { stop } from '../helpers/stop.js'
import { until } from '../helpers/until.js'

for (const [signal, end] of [
  ['SIGCONT', 'continues'],
  ['SIGKILL', 'is killed'],
] as const) {
  linuxTest(`a stopped worker delays no client, and no client is answered twice when it ${end}`, async (t) => {
    const parent = await startParent(t, { fixture: 'answer-tokens', workers: 2 })
    const [stopped = 0, running = 0] = parent.workers
    // An answer shows that a worker has asked for connections.
    await until(async () => (await askedBy(parent.port)) === stopped)
    await until(async () => (await askedBy(parent.port)) === running)
    const before = await parent.stats()
    await stop(t, stopped)

    const begin = performance.now()
    const callers = Array.from({ length: 20 }, (_, index) => call(t, parent.port).send(`token-${index}\n`))
    for (const [index, caller] of callers.entries()) t.is(await caller.answer(), `${running} token-${index}\n`)
    t.log(`all answered after ${(performance.now() - begin).toFixed(1)} ms`)
    const { requeued } = await parent.stats()
    t.true(requeued > before.requeued, 'the stopped worker was sent no connection')

    process.kill(stopped, signal)
    if (signal === 'SIGCONT') await until(async () => (await askedBy(parent.port)) === stopped)
    const { accepted } = await parent.stats()
    await until(async () => (await parent.stats()).leases === 0)
    t.is((await parent.stats()).handedOff, accepted)
  })
}

/** Returns the process id of the worker that answers one more client. */
async function askedBy(port: number): Promise<number> {
  return Number((await ask(port, 'hello\n')).split(' ')[0])
}
