// The worker of every way: an HTTP server that answers with its name and the body. A thread exits on command.

import cluster from 'node:cluster'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { parentPort } from 'node:worker_threads'
import { connect } from '@socketserver/node'
import { MY_NAME, noteConnections } from './held-connections.js'

const server = createServer((request, response) => {
  text(request).then(
    (body) => response.end(`${MY_NAME} ${body}`),
    // The request was cut, so it cannot be answered.
    () => {},
  )
})
// Idle connections end only by a drain, so that every end has one reason.
server.keepAliveTimeout = 0
noteConnections(process.env['SOAK_NOTES'] ?? '.', server)
if (cluster.isWorker) server.listen(Number(process.env['SOAK_PORT']), '127.0.0.1')
else connect().serve(server)
parentPort?.on('message', () => process.exit(3))
