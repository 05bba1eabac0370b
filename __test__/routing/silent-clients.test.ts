// Clients that connect and send nothing do not keep honest clients from their answers.

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import type { PortListenOptions } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { forkFixture, portOf, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

/** More than the connections of one listener that may be pending. */
const SILENT = 1200
const HONEST = 200
const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\nCookie: sid=1\r\nConnection: close\r\n\r\n'

for (const [what, options, header, result] of [
  ['a PROXY header', { proxyProtocol: { from: '127.0.0.1', timeout: 60_000 } }, 'PROXY UNKNOWN\r\n', 'evicted'],
  ['a cookie', { sticky: { cookie: 'sid', timeout: 60_000 } }, '', 'no-key-evicted'],
] as const) {
  test.serial(`${SILENT} silent clients of a listener that awaits ${what} do not delay the others`, async (t) => {
    const server = startServer(t)
    const listen: PortListenOptions = { port: 0, host: '127.0.0.1', backlog: 4096, ...options }
    const port = portOf(await server.listen(listen))
    const { pool } = forkFixture(server, 'tell-client', { args: ['http'], workers: 2 })
    await pool.ready
    await connectSilent(t, port)
    await until(() => (server.stats().routed[result] ?? 0) >= SILENT - 1024)
    for (let round = 0; round < HONEST; round += 20) {
      const answers = await Promise.all(Array.from({ length: 20 }, () => answerTo(port, header + REQUEST)))
      for (const answer of answers) t.true(answer.startsWith('HTTP/1.1 200 OK'))
    }
    // Only as many connections have been evicted as needed room: an honest client whose bytes come after its connection needs some too.
    const evicted = server.stats().routed[result] ?? 0
    t.true(evicted >= SILENT - 1024 && evicted <= SILENT - 1024 + HONEST, `${evicted}`)
  })
}

/** Connects the silent clients, which are closed with the test. */
async function connectSilent(t: ExecutionContext, port: number): Promise<void> {
  const sockets: Socket[] = []
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  for (let count = 0; count < SILENT; count += 100) {
    const batch = Array.from({ length: 100 }, () => connect(port, '127.0.0.1').on('error', () => {}))
    sockets.push(...batch)
    await Promise.all(batch.map((socket) => once(socket, 'connect')))
  }
}

function answerTo(port: number, request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.write(request)
  return within(text(socket), 'an answer')
}
