// Runs in a thread of the parent: resets connections to ports whose server in the test has closed. Without a parent the kernel
// would refuse these connections.

'use strict'

const { parentPort } = require('node:worker_threads')
const { connect } = require('../../dist/index.js')

parentPort.on('message', ({ port, isServed }) => {
  if (isServed) void connect({ port }).close()
  else connect({ port }).on('connection', (socket) => socket.on('error', () => {}).resetAndDestroy())
})
// Keeps the thread alive until the parent ends it.
connect({ port: 1 })
