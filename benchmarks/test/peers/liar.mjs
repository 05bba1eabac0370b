// Answers every tenth connection with another's token.

import { createServer } from 'node:net'
import { atEnd, ready } from '../../peers/ready.mjs'

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
atEnd(() => process.exit())
