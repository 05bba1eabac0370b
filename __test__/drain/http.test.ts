// The observations of an HTTP worker's clients when the worker is retired.

import { text } from 'node:stream/consumers'
import { connect } from 'node:tls'
import test from 'ava'
import { type Caller, call } from '../helpers/caller.js'
import { requestText } from '../helpers/http.js'
import { serve } from '../helpers/served.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

/** Sends a request on a kept connection and returns the response. */
async function askOn(caller: Caller, path: string): Promise<string> {
  const before = caller.received.length
  caller.send(requestText(path))
  await until(() => caller.received.slice(before).includes('quick'))
  return caller.received.slice(before)
}

test('a request that is being received or answered is answered with Connection: close', async (t) => {
  const { pool, port, reports } = await serve(t, 'drain-http')
  const [worker] = pool.workers
  const answering = call(t, port).send(requestText('/slow'))
  await reports.next('request')
  const head = requestText('/slow', { 'Content-Length': '10' }, 'POST')
  const reading = call(t, port).send(`${head}12345`)
  await reports.next('request')
  const beginning = call(t, port).send(head.slice(0, 20))
  await until(() => worker?.leases === 3)
  const retired = pool.resize(0)
  t.like(await reports.next('drain'), { info: { reason: 'retired', timeout: 30_000 } })
  reading.send('67890')
  beginning.send(`${head.slice(20)}1234567890`)
  await reports.next('request')
  worker?.process.send('answer')
  for (const caller of [answering, reading]) {
    const answer = await caller.answer()
    t.regex(answer, /^HTTP\/1.1 200 .*Connection: close.*answered/s)
  }
  worker?.process.send('answer')
  t.regex(await beginning.answer(), /^HTTP\/1.1 200 .*Connection: close.*answered/s)
  await retired
})

test('over TLS, a request that is being answered is answered with Connection: close', async (t) => {
  const { pool, port, reports } = await serve(t, 'drain-http', { args: ['https'] })
  const client = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  t.teardown(() => client.destroy())
  client.write(requestText('/slow'))
  await reports.next('request')
  const retired = pool.resize(0)
  await reports.next('drain')
  pool.workers[0]?.process.send('answer')
  t.regex(await within(text(client), 'the answer and the end'), /^HTTP\/1.1 200 .*Connection: close.*answered/s)
  await retired
})

test('a response whose header has been sent is finished', async (t) => {
  const { pool, port, reports } = await serve(t, 'drain-http')
  const streaming = call(t, port).send(requestText('/stream'))
  await streaming.receives('begun')
  const retired = pool.resize(0)
  await reports.next('drain')
  pool.workers[0]?.process.send('answer')
  t.regex(await streaming.answer(), /begun.*answered/s)
  await retired
})

test('an idle connection stays open for a second, in which a request is still answered', async (t) => {
  // On a busy machine a request may reach the worker after that second.
  for (let attempt = 1; attempt <= 5; attempt++) {
    const { pool, port, reports } = await serve(t, 'drain-http')
    const [racing, idle] = [call(t, port), call(t, port)]
    for (const caller of [racing, idle]) t.regex(await askOn(caller, '/quick'), /Connection: keep-alive/)
    const ends: string[] = []
    racing.socket.once('close', () => ends.push('racing'))
    idle.socket.once('close', () => ends.push('idle'))
    const before = racing.received.length
    const started = performance.now()
    const retired = pool.resize(0)
    await reports.next('drain')
    racing.send(requestText('/quick'))
    const text = (await racing.answer().catch(() => '')).slice(before)
    await idle.answer()
    t.true(performance.now() - started > 900)
    await retired
    if (ends[0] === 'racing' && text !== '') {
      t.regex(text, /Connection: close.*quick$/s)
      return
    }
  }
  t.fail('no request was answered within the second')
})

test('a connection that has sent nothing stays open for five seconds', async (t) => {
  const { pool, port, reports } = await serve(t, 'drain-http')
  const [late, silent] = [call(t, port), call(t, port)]
  await until(() => pool.workers[0]?.leases === 2)
  const started = performance.now()
  const retired = pool.resize(0)
  await reports.next('drain')
  // Longer than an idle connection stays open.
  await until(() => performance.now() - started > 1500)
  t.regex(await askOn(late, '/quick'), /Connection: close/)
  t.is(await silent.answer(), '')
  const ended = performance.now() - started
  // Before drainTimeout, which is 30 s.
  t.true(ended > 4900 && ended < 25_000, `after ${ended} ms`)
  await retired
})

test('an upgraded connection is ended at the drain timeout, which the drain event reports', async (t) => {
  const { server, pool, port, reports } = await serve(t, 'drain-http', { drainTimeout: 1500 })
  const cut: number[] = []
  server.on('cut', (_worker, { connections }) => cut.push(connections))
  const upgraded = call(t, port).send(requestText('/', { Connection: 'Upgrade', Upgrade: 'echo' }))
  await upgraded.receives('101')
  const started = performance.now()
  const retired = pool.resize(0)
  t.like(await reports.next('drain'), { info: { reason: 'retired', timeout: 1500 } })
  await upgraded.answer()
  t.true(performance.now() - started >= 1490)
  await retired
  t.deepEqual(cut, [1])
  t.is(reports.count('closed'), 1, 'the worker exits by itself')
})
