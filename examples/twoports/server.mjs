// One parent, two ports, and separate workers for each port: a slow service on one port does not delay the other.
//
//     npm run build && node examples/twoports/server.mjs

import { createServer } from '@socketserver/node'

const server = createServer()

for (const port of [7701, 7702]) {
  await server.listen(port, '127.0.0.1')
  const pool = server.fork(new URL('./worker.mjs', import.meta.url), { workers: 2, args: [String(port)] })
  await pool.ready
}
console.log('Two workers answer on 127.0.0.1:7701 and two others on 127.0.0.1:7702.')

const stop = async () => {
  await server.drain({ timeout: 1000 })
  server.destroy()
}
process.on('SIGINT', stop)
process.on('SIGTERM', stop)
