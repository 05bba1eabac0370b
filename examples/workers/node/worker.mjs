// A worker in Node, started from anywhere: joins the server that shares a path, and echoes a line to each client.
//
//     npm run build && node examples/workers/node/worker.mjs /tmp/app.ctl

import { connect } from '@socketserver/node'

const IDLE_TIMEOUT = 30_000

const client = connect(process.argv[2] ?? '/tmp/app.ctl')
client.concurrency = 4
client.on('connection', (socket) => {
  let line = ''
  socket.setEncoding('utf8').on('data', (/** @type {string} */ text) => {
    line += text
    if (line.includes('\n')) socket.end(`node-${process.pid} ${line}`)
  })
  socket.setTimeout(IDLE_TIMEOUT, () => socket.destroy())
  socket.on('error', () => {})
})
// close() finishes the leases first.
process.once('SIGTERM', () => void client.close())
