// The worker that all ways run: an HTTP server that says its name and the body back. As a thread it exits when told to.

import cluster from 'node:cluster'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { parentPort } from 'node:worker_threads'
import { connect } from '@socketserver/node'
import { MY_NAME, noteConnections } from './witness.js'

const server = createServer((request, response) => {
  text(request).then(
    (body) => response.end(`${MY_NAME} ${body}`),
    // Cut in its midst: there is nobody to answer.
    () => {},
  )
})
// No idle connection ends but by a drain, so that every end has one reason.
server.keepAliveTimeout = 0
noteConnections(process.env['SOAK_NOTES'] ?? '.', server)
if (cluster.isWorker) server.listen(Number(process.env['SOAK_PORT']), '127.0.0.1')
else connect().serve(server)
parentPort?.on('message', () => process.exit(3))
