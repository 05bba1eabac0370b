// The socket of a CONNECT request has only Node's own listeners.

'use strict'

const assert = require('node:assert')
const http = require('node:http')

const server = http.createServer(() => assert.fail())
server.on('connect', (_request, socket) => {
  assert.deepStrictEqual(
    ['close', 'data', 'drain', 'end', 'error', 'timeout'].map((event) => socket.listenerCount(event)),
    [0, 0, 0, 1, 0, 0],
  )
  socket.end('HTTP/1.1 200 Connection established\r\n\r\n')
  server.close()
})
server.listen(0, () => {
  const { port } = server.address()
  const request = http.request({ port, method: 'CONNECT', path: 'a:1' })
  request.on('connect', (_response, socket) => socket.resume().end())
  request.end()
})
