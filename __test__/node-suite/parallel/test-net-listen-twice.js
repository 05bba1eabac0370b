// A server listens, closes and listens again, and throws if it listens already.

'use strict'

const assert = require('node:assert')
const net = require('node:net')

const server = net.createServer((socket) => socket.end('hello'))
server.listen(0)
assert(server.listening)
assert.throws(() => server.listen(0), { code: 'ERR_SERVER_ALREADY_LISTEN' })
const first = server.address().port
assert(first > 0)
server.close(() => {
  assert.strictEqual(server.address(), null)
  server.listen(0, '127.0.0.1', () => {
    const { address, family, port } = server.address()
    assert.deepStrictEqual([address, family], ['127.0.0.1', 'IPv4'])
    const client = net.connect(port, '127.0.0.1')
    client.setEncoding('utf8').on('data', (text) => assert.strictEqual(text, 'hello'))
    client.on('end', () => server.close())
  })
})
