import test from 'ava'
import { call } from '../helpers/caller.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

test('workers that take one connection at a time answer clients in the order of arrival', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const answers: Promise<string>[] = []
  for (let index = 0; index < CLIENTS; index++) {
    answers.push(call(t, port).send(`${index}\n`).answer())
    if (index % 20 === 19) await until(() => server.stats().accepted === index + 1)
  }
  forkFixture(server, 'answer-turn', { workers: WORKERS })

  const turns = (await Promise.all(answers)).map((line, index) => {
    const [id, begun, token] = line.split(' ')
    t.is(token, String(index))
    return { id: Number(id), begun: BigInt(begun ?? 0) }
  })
  const byArrival = [...turns].sort((a, b) => a.id - b.id)
  const byTurn = [...turns].sort((a, b) => (a.begun < b.begun ? -1 : 1))
  const waiting = new Set(byArrival.map(({ id }) => id))
  t.is(waiting.size, CLIENTS)
  for (const { id } of byTurn) {
    waiting.delete(id)
    // All earlier connections have been handed off, and each other worker may not have begun with its own yet.
    const overtaken = [...waiting].filter((other) => other < id).length
    t.true(overtaken < WORKERS, `connection ${id} overtook ${overtaken}`)
  }
})

test('clients are accepted in the order in which they connected', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  const answers: Promise<string>[] = []
  for (let index = 0; index < 50; index++) {
    answers.push(call(t, port).send(`${index}\n`).answer())
    await until(() => server.stats().accepted === index + 1)
  }
  forkFixture(server, 'answer-turn')
  const turns = (await Promise.all(answers)).map((line) => line.split(' ').map(Number))
  t.deepEqual(
    turns.map(([id]) => id),
    turns.map((_, index) => index + 1),
  )
  const times = turns.map(([, begun = 0]) => begun)
  t.deepEqual(
    times,
    [...times].sort((a, b) => a - b),
  )
})

const CLIENTS = 400
const WORKERS = 4
