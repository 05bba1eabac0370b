// A thread of the parent: resets the connections of ports whose server in the test has closed. Without a parent the kernel refuses
// them, as nobody listens there any more.

'use strict'

const { parentPort } = require('node:worker_threads')
const { connect } = require('../../dist/index.js')

parentPort.on('message', ({ port, isServed }) => {
  if (isServed) void connect({ port }).close()
  else connect({ port }).on('connection', (socket) => socket.on('error', () => {}).resetAndDestroy())
})
// Keeps the thread until its parent ends it.
connect({ port: 1 })
