// How many connections a client asks for because of its listeners of `connection`.

import { EventEmitter } from 'node:events'
import test from 'ava'
import { library } from '../helpers/library.js'

const { ConnectionListeners } = library('client/connection/connection-listeners')

test('listeners that were all added by once() demand one connection at a time, any other listener demands all', async (t) => {
  const emitter = new EventEmitter()
  let changes = 0
  const listeners = new ConnectionListeners(emitter, () => {
    changes += 1
  })
  const listener = (): void => {}
  t.is(listeners.demand, 0)
  emitter.once('connection', listener)
  await tick()
  t.deepEqual([listeners.demand, changes], [1, 1])
  emitter.once('connection', () => {})
  await tick()
  t.is(listeners.demand, 1)
  emitter.on('connection', listener)
  await tick()
  t.is(listeners.demand, Number.POSITIVE_INFINITY)
  emitter.removeAllListeners()
  await tick()
  t.is(listeners.demand, 0)
  emitter.on('connection', listener)
  await tick()
  t.is(listeners.demand, Number.POSITIVE_INFINITY)
  emitter.off('connection', listener)
  await tick()
  t.is(listeners.demand, 0)
})

test('listeners of other events change nothing', async (t) => {
  const emitter = new EventEmitter()
  new ConnectionListeners(emitter, () => t.fail())
  emitter.on('close', () => {}).removeAllListeners('close')
  await tick()
  t.pass()
})

function tick(): Promise<void> {
  return new Promise((resolve) => queueMicrotask(resolve))
}
