import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { ask } from '../helpers/caller.js'
import { forkFixture, serve } from '../helpers/served.js'
import { blocking } from '../helpers/unblock.js'
import { until } from '../helpers/until.js'

test('no client waits for a worker with a blocked event loop while another worker is idle', async (t) => {
  const { env, unblock } = blocking(t)
  const { server, pool, reports, port } = await serve(t, 'block-on-command', { env: { ...process.env, ...env } })
  forkFixture(server, 'answer-tokens', { workers: 2 })
  await until(() => server.stats().workers === 3)
  const [blocked] = pool.workers
  blocked?.process.send('block')
  await reports.next('blocked')

  const waits: number[] = []
  const answers: Promise<void>[] = []
  const measured = async (): Promise<void> => {
    const begin = performance.now()
    const line = await ask(port)
    waits.push(performance.now() - begin)
    t.false(line.startsWith(`${blocked?.pid} `))
  }
  // First a burst, part of which is sent to the blocked worker; then a steady stream.
  for (let index = 0; index < 60; index++) answers.push(measured())
  await Promise.all(answers)
  const { requeued } = server.stats()
  const burst = Math.max(...waits)
  t.true(requeued > 0, 'the blocked worker was sent no connection')
  while (waits.length < 300) {
    await Promise.all([measured(), measured(), delay(5)])
  }
  t.is(reports.count('unblocked'), 0)
  const worst = Math.max(...waits)
  t.log(
    `${requeued} recalled; the last of a burst of 60 answered after ${ms(burst)}, the worst of ${waits.length} after ${ms(worst)}`,
  )

  unblock()
  await reports.next('unblocked')
  await until(async () => (await ask(port)).startsWith(`${blocked?.pid} `))
})

test('connections that a blocked worker has not taken go to the next worker in the order of arrival', async (t) => {
  const { server, pool, reports, port } = await serve(t, 'block-on-command')
  // An answer shows that the worker has not only connected but also asked for connections.
  await ask(port)
  pool.workers[0]?.process.send('block')
  await reports.next('blocked')
  const order: number[] = []
  const answers: Promise<unknown>[] = []
  const { accepted } = server.stats()
  for (let index = 0; index < 40; index++) {
    answers.push(ask(port, `${index}\n`).then((line) => order.push(Number(line.split(' ')[1]))))
    await until(() => server.stats().accepted === accepted + index + 1)
  }
  forkFixture(server, 'answer-tokens', { env: { ...process.env, CONCURRENCY: '1' } })
  await Promise.all(answers)
  t.is(reports.count('unblocked'), 0)
  t.deepEqual(
    order,
    [...order].sort((a, b) => a - b),
  )
})

function ms(duration: number): string {
  return `${duration.toFixed(1)} ms`
}
