// Small parts of the worker's side.

import { EventEmitter } from 'node:events'
import { fstatSync, openSync } from 'node:fs'
import { Duplex } from 'node:stream'
import test from 'ava'
import { library } from '../helpers/library.js'

const { createAdopter } = library('client/adopt-socket')
const { ConnectionListeners } = library('client/connection-listeners')
const { leaseUntil } = library('client/lease')
const { pipeConstructor, tcpConstructor } = library('client/stream-handle')
const { exchangeTable, ReceivedConnection } = library('client/received-connection')

function connectionOn(fd: number): InstanceType<typeof ReceivedConnection> {
  const table = exchangeTable()
  table.set([1, fd, 0, 80, 5000, 4, 0, 0x7f000001])
  return new ReceivedConnection(table, 0)
}

const tick = (): Promise<void> => new Promise((resolve) => queueMicrotask(resolve))

test('this Node has the handles that make adopting cheap', (t) => {
  t.is(typeof tcpConstructor(), 'function')
  t.is(typeof pipeConstructor(), 'function')
  t.not(tcpConstructor(), pipeConstructor())
})

test('a descriptor that no socket can be made of is an error, and closed', (t) => {
  const fd = openSync(__filename, 'r')
  const { adopt } = createAdopter({ handles: 'fd' })
  t.throws(() => adopt(connectionOn(fd)), { code: 'ERR_INVALID_FD_TYPE' })
  t.throws(() => fstatSync(fd), { code: 'EBADF' })
})

test('a handle that does not open is the error of the system', (t) => {
  const { adopt } = createAdopter({ handles: 'tcp' })
  const error = t.throws(() => adopt(connectionOn(98_765)))
  t.like(error, { code: 'EBADF', syscall: 'open', message: 'open EBADF: the descriptor cannot be adopted' })
})

test('listeners of connections ask for one each time if all are to be called once, else for any number', async (t) => {
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

test('listeners of other events are not told of', async (t) => {
  const emitter = new EventEmitter()
  new ConnectionListeners(emitter, () => t.fail())
  emitter.on('close', () => {}).removeAllListeners('close')
  await tick()
  t.pass()
})

for (const [until, calls] of [
  ['finish', ['finish']],
  ['close', ['finish', 'close']],
] as const) {
  test(`a lease until ${until} is over once`, async (t) => {
    const events: string[] = []
    let over = 0
    const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done(), autoDestroy: false })
    Reflect.apply(leaseUntil, undefined, [
      until,
      stream,
      () => {
        over += 1
        events.push('over')
      },
    ])
    stream.on('finish', () => events.push('finish')).on('close', () => events.push('close'))
    await new Promise<void>((resolve) => stream.end(resolve))
    stream.destroy()
    await new Promise(setImmediate)
    t.is(over, 1)
    const [first] = calls
    t.deepEqual(events, until === 'finish' ? ['over', first, 'close'] : ['finish', 'over', 'close'])
  })
}
