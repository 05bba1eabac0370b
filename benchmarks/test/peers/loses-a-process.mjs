// Has two processes, and continues when one of them exits.

import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { onStop, ready } from '../../peers/ready.mjs'

const idle = spawn(process.execPath, ['--eval', 'process.stdin.on("end", process.exit).resume()'])
let count = 0
const server = createServer((socket) => {
  socket.on('error', () => {})
  socket.once('data', (line) => {
    count += 1
    if (count === 100) idle.kill()
    socket.end(`w ${line}`)
  })
})
idle.once('spawn', () => {
  server.listen(0, '127.0.0.1', () => ready(Number(Reflect.get(server.address() ?? {}, 'port'))))
})
onStop(() => process.exit())
