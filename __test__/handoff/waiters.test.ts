import { Socket } from 'node:net'
import type { Connection } from '@socketserver/node'
import test from 'ava'
import fc from 'fast-check'
import { library } from '../helpers/library.js'

const { Waiters } = library('waiters')

test('calls are answered in order, also if some of them were aborted', async (t) => {
  const step = fc.oneof(fc.constant('wait'), fc.constant('give'), fc.nat(20))
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      let withdrawals = 0
      const queue = new Waiters<undefined, Connection>(() => {
        withdrawals += 1
      })
      const outcomes: string[] = []
      const controllers: AbortController[] = []
      const expected: string[] = []
      const waiting: number[] = []
      let given = 0
      for (const next of steps) {
        if (next === 'wait') {
          const call = controllers.length
          const controller = new AbortController()
          controllers.push(controller)
          expected.push('waits')
          outcomes.push('waits')
          waiting.push(call)
          queue.wait(undefined, controller.signal).then(
            ({ id }) => {
              outcomes[call] = `connection ${id}`
            },
            ({ name }) => {
              outcomes[call] = name
            },
          )
        } else if (next === 'give') {
          const call = waiting.shift()
          if (call !== undefined) expected[call] = `connection ${given}`
          if (queue.length > 0) queue.first?.resolve(connection(given++))
        } else {
          controllers[next]?.abort()
          const index = waiting.indexOf(next)
          if (index >= 0) expected[waiting.splice(index, 1)[0] ?? 0] = 'AbortError'
        }
        if (queue.length !== waiting.length) throw new Error(`${queue.length} calls wait instead of ${waiting.length}`)
      }
      queue.reject(() => new RangeError('closed'))
      for (const call of waiting) expected[call] = 'RangeError'
      await new Promise(setImmediate)
      t.deepEqual(outcomes, expected)
      t.is(queue.length, 0)
      t.is(withdrawals, expected.filter((outcome) => outcome === 'AbortError').length)
    }),
  )
})

test('a call whose signal is already aborted rejects at once', async (t) => {
  const queue = new Waiters<undefined, Connection>(() => t.fail())
  await t.throwsAsync(queue.wait(undefined, AbortSignal.abort('why')), { name: 'AbortError' })
  t.is(queue.length, 0)
})

test('a call that has been answered no longer listens to its signal', async (t) => {
  const queue = new Waiters<undefined, Connection>(() => t.fail())
  const controller = new AbortController()
  const accepted = queue.wait(undefined, controller.signal)
  queue.first?.resolve(connection(1))
  controller.abort()
  t.is((await accepted).id, 1)
})

test('calls wait in order until they are settled or aborted', async (t) => {
  let withdrawals = 0
  const waiters = new Waiters<string, number>(() => withdrawals++)
  const controller = new AbortController()
  const [first, second, third] = [
    waiters.wait('first', undefined),
    waiters.wait('second', controller.signal),
    waiters.wait('third', controller.signal),
  ]
  t.is(waiters.length, 3)
  t.is(waiters.first?.request, 'first')
  waiters.first?.resolve(1)
  t.is(waiters.first?.request, 'second')
  waiters.first?.resolve(2)
  controller.abort('reason')
  t.deepEqual([waiters.length, withdrawals], [0, 1])
  t.deepEqual(await Promise.all([first, second]), [1, 2])
  t.like(await t.throwsAsync(third), { code: 'ABORT_ERR', cause: 'reason' })
  await t.throwsAsync(waiters.wait('late', controller.signal), { code: 'ABORT_ERR' })
  const rest = [waiters.wait('a', undefined), waiters.wait('b', undefined)]
  waiters.reject(() => new Error('all'))
  for (const each of rest) await t.throwsAsync(each, { message: 'all' })
  t.is(waiters.first, undefined)
})

function connection(id: number): Connection {
  const nowhere = {
    remoteAddress: undefined,
    proxy: undefined,
    via: undefined,
    remotePort: undefined,
    localPort: undefined,
  }
  return { id, socket: new Socket(), waited: 0, ...nowhere, handBack: () => Promise.resolve() }
}
