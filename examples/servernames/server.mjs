// One HTTPS port for two host names, each with a pool of its own: a slow service does not delay the other.
//
//     npm run build
//     openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout /tmp/key.pem -out /tmp/cert.pem
//     KEY=/tmp/key.pem CERT=/tmp/cert.pem node examples/servernames/server.mjs 8443

import { createServer } from '@socketserver/node'

/** The host names, and the ports that the workers of each name ask for. No listener needs these ports. */
const NAMES = { 'api.localhost': 8001, 'www.localhost': 8002 }

const server = createServer()
const { port } = await server.listen({
  port: Number(process.argv[2] ?? process.env['PORT'] ?? 8443),
  host: '127.0.0.1',
  serverNames: NAMES,
})
for (const [name, lane] of Object.entries(NAMES)) {
  const pool = server.fork(new URL('./worker.mjs', import.meta.url), { workers: 2, args: [name, String(lane)] })
  await pool.ready
}
console.log(`Two workers answer https://api.localhost:${port}/ and two others https://www.localhost:${port}/.`)

const stop = async () => {
  await server.drain({ timeout: 1000 })
  server.destroy()
}
process.on('SIGINT', stop)
process.on('SIGTERM', stop)
