// The parent of an HTTP service. It hands off connections and does not parse HTTP.
//
//     npm run build && node examples/http/server.mjs 8080

import { createServer } from '@socketserver/node'

const server = createServer()
const { address, port } = await server.listen(Number(process.argv[2] ?? process.env['PORT'] ?? 8080), '127.0.0.1')
const pool = server.fork(new URL('./worker.mjs', import.meta.url), { workers: 4 })
await pool.ready
console.log(`http://${address}:${port}/ is answered by ${pool.workers.length} workers.`)

const stop = async () => {
  await server.drain({ timeout: 1000 })
  server.destroy()
}
process.on('SIGINT', stop)
process.on('SIGTERM', stop)
