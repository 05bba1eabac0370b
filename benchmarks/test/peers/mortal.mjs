// Dies at its hundredth connection, in the middle of the answer.

import { createServer } from 'node:net'
import { atEnd, ready } from '../../peers/ready.mjs'

let count = 0
const server = createServer((socket) => {
  socket.on('error', () => {})
  socket.once('data', (line) => {
    count += 1
    if (count === 100) process.exit(3)
    socket.end(`w ${line}`)
  })
})
server.listen(0, '127.0.0.1', () => ready(Number(Reflect.get(server.address() ?? {}, 'port'))))
atEnd(() => process.exit())
