// A worker: asks for a connection, answers it, asks again. server.mjs starts four of these.

import { connect } from '@socketserver/node'

// A terminal's Ctrl-C reaches the workers too; the parent decides when they leave.
process.on('SIGINT', () => {})

connect().on('connection', (socket, { remoteAddress, remotePort }) => {
  console.log(`process ${process.pid} answers ${remoteAddress}:${remotePort}`)
  socket.on('error', ({ message }) => console.log(`process ${process.pid}: ${message}`))
  socket.pipe(socket)
})
