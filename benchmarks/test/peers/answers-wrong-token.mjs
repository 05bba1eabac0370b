// Answers every tenth connection with the token of the previous connection.

import { createServer } from 'node:net'
import { onStop, ready } from '../../peers/ready.mjs'

let count = 0
let earlier = ''
const server = createServer((socket) => {
  socket.on('error', () => {})
  socket.once('data', (line) => {
    count += 1
    socket.end(`w ${count % 10 === 0 ? earlier : line}`)
    earlier = String(line)
  })
})
server.listen(0, '127.0.0.1', () => ready(Number(Reflect.get(server.address() ?? {}, 'port'))))
onStop(() => process.exit())
