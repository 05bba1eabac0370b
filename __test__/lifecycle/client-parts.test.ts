// Small parts of the worker's side.

import { EventEmitter } from 'node:events'
import { fstatSync, openSync } from 'node:fs'
import test from 'ava'
import { library } from '../helpers/library.js'

const { adoptSocket, closeConnection } = library('client/connection/adopt-socket')
const { ConnectionListeners } = library('client/connection/connection-listeners')
const { pipeConstructor, tcpConstructor } = library('client/connection/stream-handle')
const { exchangeTable, ReceivedConnection } = library('client/connection/received-connection')

function connectionOn(fd: number): InstanceType<typeof ReceivedConnection> {
  const table = exchangeTable()
  table.set([1, fd, 0, 80, 5000, 4, 0, 0x7f000001])
  return new ReceivedConnection(table, 0)
}

const tick = (): Promise<void> => new Promise((resolve) => queueMicrotask(resolve))

test('this Node has the handles that sockets are made of', (t) => {
  t.is(typeof tcpConstructor(), 'function')
  t.is(typeof pipeConstructor(), 'function')
  t.not(tcpConstructor(), pipeConstructor())
})

test('a connection is closed whether or not a socket owns its descriptor, and tells of it once', (t) => {
  for (const isAdopted of [false, true]) {
    const fd = openSync(__filename, 'r')
    const connection = connectionOn(fd)
    let closings = 0
    connection.onClosed(() => {
      closings += 1
    })
    if (isAdopted) adoptSocket(connection)
    closeConnection(connection)
    closeConnection(connection)
    t.throws(() => fstatSync(fd), { code: 'EBADF' })
    t.is(closings, 1)
  }
})

test('a handle that does not open is the error of the system', (t) => {
  const error = t.throws(() => adoptSocket(connectionOn(98_765)))
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
