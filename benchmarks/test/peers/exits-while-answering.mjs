// Exits before it answers its hundredth connection.

import { createServer } from 'node:net'
import { onStop, ready } from '../../peers/ready.mjs'

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
onStop(() => process.exit())
