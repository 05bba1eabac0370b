// socket.io on all cores, in one file: the parent opens the port, and each worker is this file again.
//
//     npm run build && node examples/socket.io/app.mjs 8000
//
// Behind HAProxy (haproxy.cfg), `PROXY=127.0.0.1` tells that connections from this address begin with the address of the client.
//
// A broadcast reaches only the clients of its worker. All clients need an adapter, such as @socket.io/redis-adapter.

import { createServer as createHttpServer } from 'node:http'
import { availableParallelism } from 'node:os'
import { connect, createServer, isWorker, sessionId, worker } from '@socketserver/node'
import { Server } from 'socket.io'

if (isWorker) startWorker()
else await startParent()

function startWorker() {
  process.on('SIGINT', () => {})

  const httpServer = createHttpServer()
  // The first request of a connection determines the worker, so no connection may carry the requests of two sessions.
  httpServer.maxRequestsPerSocket = 1
  const io = new Server(httpServer)
  // All requests of a session reach the worker that has begun the session.
  io.engine.generateId = sessionId
  io.on('connection', (socket) => {
    const { address } = socket.handshake
    socket.on('hello', (answer) => answer(`Hello, ${address}: this is worker ${worker?.slot}.`))
  })
  connect().serve(httpServer)
}

async function startParent() {
  const proxy = process.env['PROXY']
  const server = createServer()
  const { address, port } = await server.listen({
    port: Number(process.argv[2] ?? process.env['PORT'] ?? 8000),
    host: '127.0.0.1',
    sticky: { query: 'sid', timeout: 3000 },
    ...(proxy !== undefined && { proxyProtocol: { from: proxy } }),
  })
  const pool = server.fork(import.meta.filename, { workers: availableParallelism() })
  await pool.ready
  console.log(`http://${address}:${port}/ is answered by ${pool.workers.length} workers.`)

  const stop = async () => {
    await server.drain({ timeout: 1000 })
    server.destroy()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
}
