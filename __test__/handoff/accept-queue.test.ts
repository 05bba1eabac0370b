import { Socket } from 'node:net'
import type { Connection } from '@socketserver/node'
import test from 'ava'
import fc from 'fast-check'
import { library } from '../helpers/library.js'

const { AcceptQueue } = library('client/channel/accept-queue')

test('calls are answered in their order, whichever of them were aborted', async (t) => {
  const step = fc.oneof(fc.constant('wait'), fc.constant('give'), fc.nat(20))
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      let withdrawals = 0
      const queue = new AcceptQueue(() => {
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
          queue.wait(controller.signal).then(
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
          if (queue.length > 0) queue.give(connection(given++))
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
  const queue = new AcceptQueue(() => t.fail())
  await t.throwsAsync(queue.wait(AbortSignal.abort('why')), { name: 'AbortError' })
  t.is(queue.length, 0)
})

test('a call that has been answered no longer listens to its signal', async (t) => {
  const queue = new AcceptQueue(() => t.fail())
  const controller = new AbortController()
  const accepted = queue.wait(controller.signal)
  queue.give(connection(1))
  controller.abort()
  t.is((await accepted).id, 1)
})

function connection(id: number): Connection {
  const nowhere = { remoteAddress: undefined, remotePort: undefined, localPort: undefined }
  return { id, socket: new Socket(), waited: 0, ...nowhere, handBack: () => Promise.resolve() }
}
