import { once } from 'node:events'
import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { serve } from '../helpers/served.js'
import { until } from '../helpers/until.js'

test('connections are delivered while there is a listener and stay queued while there is none', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'listen-on-command')
  const first = call(t, port)
  await until(() => server.stats().queued === 1)
  pool.workers[0]?.process.send('on')
  t.is(await first.answer(), 'answered')
  for (let i = 0; i < 5; i++) t.is(await ask(port), 'answered')
  pool.workers[0]?.process.send('off')
  await reports.next('off')
  const second = call(t, port)
  await until(() => server.stats().queued === 1)
  pool.workers[0]?.process.send('on')
  t.is(await second.answer(), 'answered')
})

test('a listener that was added by once() gets one connection', async (t) => {
  const { server, pool, port } = await serve(t, 'listen-on-command')
  const callers = [call(t, port), call(t, port), call(t, port)]
  await until(() => server.stats().queued === 3)
  for (const handedOff of [1, 2]) {
    pool.workers[0]?.process.send('once')
    await until(() => callers.filter(({ received }) => received === 'answered').length === handedOff)
    await until(() => server.stats().leases === 0)
    t.like(server.stats(), { handedOff, queued: 3 - handedOff })
  }
})

test('a client works as before after removeAllListeners()', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'listen-on-command')
  pool.workers[0]?.process.send('on')
  t.is(await ask(port), 'answered')
  pool.workers[0]?.process.send('removeAll')
  await reports.next('removed')
  const caller = call(t, port)
  await until(() => server.stats().queued === 1)
  pool.workers[0]?.process.send('on')
  t.is(await caller.answer(), 'answered')
  pool.workers[0]?.process.send('off')
  await reports.next('off')
  call(t, port)
  await until(() => server.stats().queued === 1)
  t.is(server.stats().handedOff, 2)
})

test('an error thrown by a handler is an uncaught exception and affects no other connection', async (t) => {
  const { server, reports, port } = await serve(t, 'throw-in-handler')
  const answers = await Promise.all(Array.from({ length: 5 }, () => ask(port)))
  t.deepEqual(answers, Array(5).fill('answered'))
  await until(() => reports.count('uncaught') === 5)
  t.like(reports.all[0], { message: 'thrown by the handler' })
  t.is(server.stats().handedOff, 5)
})

test('the handler gets a socket and the address and port of the client', async (t) => {
  const { port } = await serve(t, 'describe-connection')
  const caller = call(t, port)
  await once(caller.socket, 'connect')
  const { localPort: remotePort } = caller.socket
  t.is(typeof remotePort, 'number')
  const answer = JSON.parse(await caller.answer())
  t.like(answer, { remoteAddress: '127.0.0.1', remotePort, localPort: port })
  t.deepEqual(answer.socket, { isSocket: true, remoteAddress: '127.0.0.1', remotePort, localPort: port })
})
