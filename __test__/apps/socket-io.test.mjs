// socket.io with its default transports and with polling alone, on several workers: every request of a session reaches its worker.
// Over TLS the parent cannot read the session id, so the clients use the transport that needs one connection only.

import { fileURLToPath } from 'node:url'
import test from 'ava'
import { createServer } from '../../dist/index.js'
import { SocketIoClient } from './support/socket-io-clients.mjs'

const ENTRY = fileURLToPath(new URL('fixtures/socket-io-sticky.js', import.meta.url))
const CLIENTS = 100
const WORKERS = 4

for (const [scheme, transports, kind] of /** @type {const} */ ([
  ['http', [['polling', 'websocket'], ['polling']], 'processes'],
  ['http', [['polling', 'websocket'], ['polling']], 'threads'],
  ['https', [['websocket']], 'processes'],
])) {
  const title = `socket.io over ${scheme} keeps ${CLIENTS} sessions, and restores them after a reload and a killed worker, in ${kind}`
  test.serial(title, async (t) => {
    const { server, pool, url } = await start(t, kind, scheme)
    const clients = Array.from(
      { length: CLIENTS },
      (_, index) => new SocketIoClient(url, transports[index % transports.length] ?? []),
    )
    t.teardown(() => {
      for (const client of clients) client.close()
    })
    const first = await Promise.all(clients.map((client) => client.answerOf()))
    t.deepEqual([...new Set(first.map(({ slot }) => slot))].sort(), [0, 1, 2, 3])
    const sessions = clients.map(({ session }) => session)
    await Promise.all(clients.map((client) => client.answerOf()))
    t.deepEqual(
      clients.map(({ session }) => session),
      sessions,
    )
    t.true(
      clients.every(({ failures }) => failures === 0),
      JSON.stringify(server.stats().routed),
    )

    await pool.reload()
    const second = await Promise.all(clients.map((client) => client.answerOf(({ generation }) => generation === 2)))

    const [victim] = pool.workers
    t.true(second.some(({ worker }) => worker === victim?.id))
    await victim?.thread?.terminate()
    victim?.process?.kill('SIGKILL')
    await Promise.all(clients.map((client) => client.answerOf(({ worker }) => worker !== victim?.id)))
  })
}

/**
 * Starts workers, and returns their pool and URL.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {'processes' | 'threads'} kind
 * @param {'http' | 'https'} scheme
 */
async function start(t, kind, scheme) {
  const server = createServer()
  t.teardown(async () => {
    server.destroy()
    await server.close()
  })
  // The clients share one event loop, so a client may take longer than the default timeout to send the first request.
  const sticky = { query: 'sid', timeout: 5000 }
  const { port } = await server.listen({ port: 0, ...(scheme === 'http' && { sticky }) })
  const options = { workers: WORKERS, execArgv: [], drainTimeout: 500 }
  const pool =
    kind === 'threads'
      ? server.threads(ENTRY, { ...options, argv: [scheme] })
      : server.fork(ENTRY, { ...options, args: [scheme] })
  await pool.ready
  return { server, pool, url: `${scheme}://localhost:${port}` }
}
