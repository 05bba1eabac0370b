// signals: { drainDelay }: load balancers need time to detect that a server drains.

import type { PathAddress, TcpAddress } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { ask, call } from '../helpers/caller.js'
import { linuxTest } from '../helpers/conditional-test.js'
import { fetchOnce } from '../helpers/http.js'
import { type Program, run } from '../helpers/program.js'
import { portOf, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

async function start(t: ExecutionContext, drainDelay: number): Promise<[Program, number, number, number]> {
  const parent = run(t, 'parent-with-drain-delay', { args: [String(drainDelay), 'echo'] })
  const started: { port: number; admin: TcpAddress | PathAddress; agent: TcpAddress | PathAddress } = JSON.parse(
    await parent.line(),
  )
  return [parent, started.port, portOf(started.admin), portOf(started.agent)]
}

linuxTest('after SIGTERM /readyz fails at once, and the server accepts for the drain delay', async (t) => {
  const [parent, port, admin, agent] = await start(t, 60_000)
  const readiness = async () => (await fetchOnce(admin, { path: '/readyz' })).status
  t.is(await readiness(), 200)
  parent.process.kill('SIGTERM')
  await until(async () => (await readiness()) === 503)
  t.is(await ask(agent), 'drain\n')
  const late = call(t, port).send('late')
  await late.receives('late')
  late.disconnect()
  parent.process.kill('SIGTERM')
  t.is(await parent.exit(), 143, 'the second signal ends the delay')
})

linuxTest('after the drain delay the server closes and the process exits with 0', async (t) => {
  const [parent] = await start(t, 300)
  parent.process.kill('SIGTERM')
  t.is(await parent.exit(), 0)
})

test('a bad drain delay is refused', (t) => {
  const create = (signals: object) => () => Reflect.apply(startServer, undefined, [t, { signals }])
  t.throws(create({ drainDelay: -1 }), { code: 'ERR_OUT_OF_RANGE', message: /options\.signals\.drainDelay/ })
  t.throws(create({ drainDealy: 1 }), { code: 'ERR_INVALID_ARG_VALUE', message: /did you mean 'drainDelay'/ })
})
