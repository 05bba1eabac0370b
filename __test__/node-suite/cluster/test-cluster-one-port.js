'use strict'

// Two workers listen on one port that the system chooses, answer, and leave by cluster.disconnect().

const assert = require('node:assert')
const cluster = require('node:cluster')
const http = require('node:http')

if (cluster.isPrimary) {
  const ports = new Set()
  let exits = 0
  let listening = 0
  for (let i = 0; i < 2; i++) {
    cluster.fork().on('listening', ({ port }) => {
      ports.add(port)
      listening += 1
      if (listening < 2) return
      assert.strictEqual(ports.size, 1)
      http.get({ port, host: '127.0.0.1', agent: false }, (response) => {
        response.resume().on('end', () => cluster.disconnect())
      })
    })
  }
  cluster.on('exit', (worker, code) => {
    assert.strictEqual(code, 0)
    assert.strictEqual(worker.exitedAfterDisconnect, true)
    exits += 1
  })
  process.on('exit', () => assert.strictEqual(exits, 2))
} else {
  http.createServer((_request, response) => response.end('answer')).listen(0)
}
