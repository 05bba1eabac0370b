// The handle of a server reports whether the server keeps its process alive.

'use strict'

const assert = require('node:assert')
const net = require('node:net')

const server = net.createServer().listen(0, () => {
  const handle = server._handle
  assert.strictEqual(handle.hasRef(), true)
  server.unref()
  assert.strictEqual(handle.hasRef(), false)
  server.ref()
  assert.strictEqual(handle.hasRef(), true)
  server.close()
})
