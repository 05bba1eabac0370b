// The parent: accepts connections, and shares a path at which workers in any language join.
//
//     npm run build && node examples/workers/server.mjs 8888 /tmp/app.ctl

import { createServer } from '@socketserver/node'

const [, , port = '8888', path = '/tmp/app.ctl'] = process.argv

// SIGINT and SIGTERM drain the server, then retire the workers.
const server = createServer({ signals: true })
server.on('worker', ({ id, pid }) => console.log(`worker ${id} is process ${pid}`))
server.on('exit', ({ id }) => console.log(`worker ${id} has left`))
server.on('refused', ({ message }) => console.log(message))

const { address, port: bound } = await server.listen(Number(port), '127.0.0.1')
await server.share(path)
console.log(`Listening on ${address}:${bound}; workers join at ${path}.`)
