// The parent: accepts connections and hands each to the next worker that asks.
//
//     npm run build && node examples/echo/server.mjs 8888

import { createServer } from '@socketserver/node'

const WORKERS = 4

const server = createServer()
server.on('worker', ({ id, pid }) => console.log(`worker ${id} is process ${pid}`))

const { address, port } = await server.listen(Number(process.argv[2] ?? process.env['PORT'] ?? 8888), '127.0.0.1')
const pool = server.fork(new URL('./worker.mjs', import.meta.url), { workers: WORKERS })
await pool.ready
console.log(`Echoing on ${address}:${port} with ${WORKERS} workers.`)

// Open connections have one second to finish.
const stop = async () => {
  await server.drain({ timeout: 1000 })
  server.destroy()
}
process.on('SIGINT', stop)
process.on('SIGTERM', stop)
