// signals: { drainDelay }: load balancers need time to detect that a server drains.

import { once } from 'node:events'
import { connect } from 'node:http2'
import { text } from 'node:stream/consumers'
import type { PathAddress, TcpAddress } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { ask, call } from '../helpers/caller.js'
import { linuxTest } from '../helpers/conditional-test.js'
import { fetchOnce, requestText } from '../helpers/http.js'
import { type Program, run } from '../helpers/program.js'
import { portOf, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

async function start(
  t: ExecutionContext,
  drainDelay: number,
  worker = 'echo',
): Promise<[Program, number, number, number]> {
  const parent = run(t, 'parent-with-drain-delay', { args: [String(drainDelay), worker] })
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

linuxTest('during the drain delay each HTTP/1 response is the last on its connection', async (t) => {
  const [parent, port, admin] = await start(t, 60_000, 'drain-http')
  const kept = call(t, port).send(requestText('/quick'))
  await kept.receives('quick')
  t.regex(kept.received, /^Connection: keep-alive\r$/m)
  parent.process.kill('SIGTERM')
  await until(async () => (await fetchOnce(admin, { path: '/readyz' })).status === 503)
  const ended = once(kept.socket, 'close')
  // The worker learns of the drain delay when its event loop turns. Until then it keeps the connection.
  const timer = setInterval(() => kept.send(requestText('/quick')), 20)
  t.teardown(() => clearInterval(timer))
  await within(ended, 'the last response')
  clearInterval(timer)
  t.regex(kept.received, /Connection: close\r\n[\s\S]*quick$/)
  t.regex(await call(t, port).send(requestText('/quick')).answer(), /^HTTP\/1.1 200 .*Connection: close.*quick$/s)
  parent.process.kill('SIGTERM')
  await parent.exit()
})

linuxTest('during the drain delay HTTP/2 sessions stay open', async (t) => {
  const [parent, port, admin] = await start(t, 60_000, 'drain-http2')
  const kept = connect(`http://127.0.0.1:${port}`)
  t.teardown(() => kept.destroy())
  // The second SIGTERM ends the processes, and resets the sessions.
  kept.on('error', () => {})
  kept.on('goaway', () => t.fail('GOAWAY'))
  t.is(await within(text(kept.request({ ':path': '/quick' })), 'an answer'), 'quick')
  parent.process.kill('SIGTERM')
  await until(async () => (await fetchOnce(admin, { path: '/readyz' })).status === 503)
  const late = connect(`http://127.0.0.1:${port}`)
  late.on('error', () => {})
  t.teardown(() => late.destroy())
  for (const session of [kept, late]) {
    t.is(await within(text(session.request({ ':path': '/quick' })), 'an answer'), 'quick')
  }
  parent.process.kill('SIGTERM')
  await parent.exit()
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
