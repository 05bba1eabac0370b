// Fails through serve(), because a served server has no listening socket in its process.

'use strict'

const assert = require('node:assert')
const net = require('node:net')

const server = net.createServer().listen(0, () => {
  assert(server._handle.fd >= 0)
  server.close()
})
