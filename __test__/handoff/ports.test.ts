import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

test('two ports have separate workers, and a port without a worker does not delay the other', async (t) => {
  const server = startServer(t)
  const [first, second] = [await listen(server), await listen(server)]
  const waiting = call(t, first)
  await until(() => server.stats().queued === 1)
  const two = forkFixture(server, 'describe-connection', { args: [String(second)] })
  t.like(JSON.parse(await ask(second)), { localPort: second, pid: two.pool.workers[0]?.pid })
  t.is(server.stats().queued, 1)
  const one = forkFixture(server, 'describe-connection', { args: [String(first)] })
  t.like(JSON.parse(await waiting.answer()), { localPort: first, pid: one.pool.workers[0]?.pid })
  t.like(JSON.parse(await ask(second)), { localPort: second, pid: two.pool.workers[0]?.pid })
})

test('one process can serve two ports with one client for each', async (t) => {
  const server = startServer(t)
  const [first, second] = [await listen(server), await listen(server)]
  const { pool } = forkFixture(server, 'answer-two-ports', { args: [String(first), String(second)] })
  await pool.ready
  for (let i = 0; i < 5; i++) {
    t.is(await ask(second), `second ${second}`)
    t.is(await ask(first), `first ${first}`)
  }
})

test('a worker can serve any number of ports one after another, and 64 at the same time', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const { reports } = forkFixture(server, 'serve-many-ports', { args: [String(port)] })
  const refused = await reports.next('one more')
  t.is(refused['code'], 'ERR_SOCKETSERVER_TOO_MANY_PORTS')
  t.regex(String(refused['message']), /^connect\(\{ port: 64 \}\) failed: .* 64 ports/)
  t.like(await reports.next('after one has closed'), { code: 'none' })
  await reports.next('done')
  t.is(await ask(port), 'served')
  t.is(server.stats().workers, 1)
})
