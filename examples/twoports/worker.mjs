// A worker that serves one listener: the port in its arguments.

import { connect } from '@socketserver/node'

process.on('SIGINT', () => {})

const client = connect({ port: Number(process.argv[2]) })

// One connection at a time: the loop asks for the next when its body has ended.
for await (const { socket, remoteAddress, remotePort, localPort } of client) {
  socket.on('error', ({ message }) => console.log(`process ${process.pid}: ${message}`))
  socket.end(`Hello, ${remoteAddress}:${remotePort}: this is process ${process.pid}, for port ${localPort}.\n`)
}
