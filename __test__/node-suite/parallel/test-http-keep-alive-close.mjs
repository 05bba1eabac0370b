// close() of an HTTP server closes idle connections and waits for the response in progress.

import assert from 'node:assert'
import { once } from 'node:events'
import http from 'node:http'
import { text } from 'node:stream/consumers'

const server = http.createServer((request, response) => {
  if (request.url === '/slow') setTimeout(() => response.end('slow'), 50)
  else response.end('quick')
})
server.listen(0)
await once(server, 'listening')
const { port } = server.address()
const agent = new http.Agent({ keepAlive: true })
const get = async (path) => {
  const [response] = await once(http.get({ port, path, agent }), 'response')
  return await text(response)
}
assert.strictEqual(await get('/'), 'quick')
const slow = get('/slow')
await once(server, 'request')
const closed = once(server, 'close')
server.close()
assert.strictEqual(await slow, 'slow')
agent.destroy()
await closed
