import { fstatSync, openSync } from 'node:fs'
import test from 'ava'
import { library } from '../helpers/library.js'

const { adoptSocket, closeConnection } = library('client/connection/adopt-socket')
const { pipeConstructor, tcpConstructor } = library('client/connection/stream-handle')
const { exchangeTable, ReceivedConnection } = library('client/connection/received-connection')

test('the handle classes of sockets exist in this Node', (t) => {
  t.is(typeof tcpConstructor(), 'function')
  t.is(typeof pipeConstructor(), 'function')
  t.not(tcpConstructor(), pipeConstructor())
})

test('closeConnection() closes the descriptor and notifies once, whether or not a socket owns it', (t) => {
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

test('adoptSocket() of a closed descriptor throws the system error', (t) => {
  const error = t.throws(() => adoptSocket(connectionOn(98_765)))
  t.like(error, { code: 'EBADF', syscall: 'open', message: 'open EBADF: the descriptor cannot be adopted' })
})

function connectionOn(fd: number): InstanceType<typeof ReceivedConnection> {
  const table = exchangeTable()
  table.set([1, fd, 0, 80, 5000, 4, 0, 0x7f000001])
  return new ReceivedConnection(table, 0)
}
