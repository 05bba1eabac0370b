// A worker: takes connections and echoes what clients send. server.mjs starts four workers.

import { connect } from '@socketserver/node'

// Ctrl-C in a terminal reaches the workers, too, but the parent decides when they exit.
process.on('SIGINT', () => {})

connect().on('connection', (socket, { remoteAddress, remotePort }) => {
  console.log(`process ${process.pid} answers ${remoteAddress}:${remotePort}`)
  socket.on('error', ({ message }) => console.log(`process ${process.pid}: ${message}`))
  socket.pipe(socket)
})
