import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { forkFixture, listen, serve, startServer, startThreads } from '../helpers/served.js'
import { until } from '../helpers/until.js'

for (const how of ['accept', 'iterate', 'event']) {
  test(`a connection that a worker hands back is answered by another worker (${how}, processes)`, async (t) => {
    const { server, reports, port } = await serve(t, 'hand-back', { env: { ...process.env, HOW: how } })
    const caller = call(t, port).send('sent before any worker reads')
    t.like(await reports.next('handed back'), { id: 1, destroyed: true })
    t.like(await reports.next('closed'), { id: 1, hadError: false })
    const other = forkFixture(server, 'answer-tokens')
    t.is(await caller.send('\n').answer(), `${other.pool.workers[0]?.pid} sent before any worker reads\n`)
    await until(() => server.stats().leases === 0)
    const { accepted, handedOff, handedBack } = server.stats()
    t.is(accepted, 1)
    t.true(handedBack >= 1)
    t.is(handedOff, handedBack + 1)
    t.is(reports.count('error'), 0)
  })

  test(`a connection that a worker hands back is answered by another worker (${how}, threads)`, async (t) => {
    const { server, reports, port } = await startThreads(t, 'hand-back', { env: { ...process.env, HOW: how } })
    const caller = call(t, port)
    await reports.next('handed back')
    const { pool } = forkFixture(server, 'hand-back', { env: { ...process.env, BACK: '0' } })
    t.is(await caller.answer(), `${pool.workers[0]?.pid}/0`)
    await until(() => server.stats().leases === 0)
  })
}

test('a connection can be handed back by several workers in turn', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  // The second worker gets a reissued connection, which is shut down before it is closed, but not when it is handed back.
  const [first, second] = [0, 1].map(() => forkFixture(server, 'hand-back'))
  const caller = call(t, port)
  await first?.reports.next('handed back')
  await second?.reports.next('handed back')
  const { pool } = forkFixture(server, 'hand-back', { env: { ...process.env, BACK: '0' } })
  t.is(await caller.answer(), `${pool.workers[0]?.pid}/0`)
})

test('a worker that hands a connection back gets it again if there is no other worker', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'hand-back', { env: { ...process.env, BACK: '3' } })
  t.is(await ask(port), `${pool.workers[0]?.pid}/0`)
  t.is(reports.count('handed back'), 3)
  t.like(server.stats(), { accepted: 1, handedOff: 4, handedBack: 3 })
})

test('a connection that was handed back is answered before connections that arrived later', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const callers = []
  for (let index = 0; index < 5; index++) {
    callers.push(call(t, port))
    await until(() => server.stats().accepted === index + 1)
  }
  const { pool, reports } = forkFixture(server, 'hand-back-after-use')
  for (let times = 1; times <= 3; times++) {
    pool.workers[0]?.process.send('hand back')
    t.like(await reports.next('tried'), { code: 'ERR_SOCKETSERVER_CONNECTION_USED', id: 1 })
    t.like(server.stats(), { handedBack: times, queued: 5 })
  }
  forkFixture(server, 'accept-many', { args: ['5'] })
  t.deepEqual(await Promise.all(callers.map((caller) => caller.answer())), ['0', '1', '2', '3', '4'])
})

const USED: Record<string, { why: RegExp; answer: string }> = {
  read: { why: /4 bytes have been read from it/, answer: 'still here' },
  'read unseen': { why: /4 bytes have been read from it/, answer: 'still here' },
  write: { why: /9 bytes have been written to it/, answer: 'written, still here' },
  end: { why: /5 bytes have been written to it/, answer: 'ended' },
  destroy: { why: /its socket is destroyed/, answer: '' },
}

for (const [how, { why, answer }] of Object.entries(USED)) {
  test(`a connection that was used cannot be handed back and stays with its worker: ${how}`, async (t) => {
    const { server, pool, reports, port } = await serve(t, 'hand-back-after-use')
    pool.workers[0]?.process.send(how)
    const caller = call(t, port)
    if (how.startsWith('read')) caller.send('word')
    const { code, message } = await reports.next('tried')
    t.is(code, 'ERR_SOCKETSERVER_CONNECTION_USED')
    t.regex(String(message), why)
    t.is(await caller.answer(), answer)
    await until(() => server.stats().leases === 0)
    t.is(server.stats().handedBack, 0)
  })
}

test('a connection cannot be handed back twice', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'hand-back-after-use')
  pool.workers[0]?.process.send('hand back')
  const caller = call(t, port)
  t.like(await reports.next('tried'), { code: 'ERR_SOCKETSERVER_CONNECTION_USED' })
  t.like(server.stats(), { handedBack: 1, queued: 1 })
  forkFixture(server, 'answer-tokens')
  t.regex(await caller.send('word\n').answer(), /^\d+ word\n$/)
})

test('a connection whose client has sent nothing can be handed back later', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'hand-back-after-use')
  pool.workers[0]?.process.send('later, untouched')
  const caller = call(t, port)
  t.like(await reports.next('tried'), { code: 'none' })
  forkFixture(server, 'answer-tokens')
  t.regex(await caller.send('word\n').answer(), /^\d+ word\n$/)
})

test('a retired worker can hand back its connections and then exits', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'hand-back-after-use')
  pool.workers[0]?.process.send('hold')
  const caller = call(t, port)
  await reports.next('held')
  const other = forkFixture(server, 'answer-tokens')
  await other.pool.ready
  await pool.resize(0)
  t.like(await reports.next('tried'), { code: 'none' })
  t.is(await caller.send('word\n').answer(), `${other.pool.workers[0]?.pid} word\n`)
  t.is(server.stats().cut, 0)
})

test('a client closes after the server has received the connections that were handed back', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'hand-back')
  const caller = call(t, port)
  await reports.next('handed back')
  pool.workers[0]?.process.send('close')
  await reports.next('left')
  await until(() => server.stats().queued === 1)
  await delay(20)
  t.is(caller.received, '')
  forkFixture(server, 'answer-tokens')
  t.regex(await caller.send('word\n').answer(), /^\d+ word\n$/)
})
