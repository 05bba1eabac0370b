// A limit of connections per client: a further connection is reset until another has ended.

import { join } from 'node:path'
import type { ListenOptions, Server } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { type Caller, call } from '../helpers/caller.js'
import { fixture } from '../helpers/fixture.js'
import { runApp } from '../helpers/run-app.js'
import { forkFixture, portOf, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { Terminal } from '../helpers/terminal.js'
import { until } from '../helpers/until.js'

const RESULT = 'too-many-from-source'

async function startLimited(t: ExecutionContext, options: Partial<ListenOptions> = {}) {
  const server = startServer(t)
  const port = portOf(await server.listen({ port: 0, host: '127.0.0.1', maxPerSource: 3, ...options }))
  return { server, port }
}

/** Connects clients until a worker answers one of them: the parent learns of ended connections a moment later than their clients. */
async function admitted(t: ExecutionContext, port: number, header = ''): Promise<Caller> {
  let last = call(t, port).send(`${header}x`)
  await until(async () => {
    try {
      await last.receives('x')
      return true
    } catch {
      last = call(t, port).send(`${header}x`)
      return false
    }
  })
  return last
}

async function refused(t: ExecutionContext, server: Server, port: number): Promise<void> {
  const before = server.stats().routed[RESULT] ?? 0
  await t.throwsAsync(call(t, port).answer(), { code: 'ECONNRESET' })
  await until(() => server.stats().routed[RESULT] === before + 1)
}

for (const kind of ['processes', 'threads'] as const) {
  test(`workers in ${kind} report the ends of a client's connections, which makes room for others`, async (t) => {
    const { server, port } = await startLimited(t)
    const { ready } =
      kind === 'threads'
        ? server.threads(fixture('echo'), { workers: 2, execArgv: [] })
        : forkFixture(server, 'echo', { workers: 2 }).pool
    await ready
    for (let round = 0; round < 3; round++) {
      const callers = []
      for (let count = 0; count < 3; count++) callers.push(await admitted(t, port))
      await refused(t, server, port)
      callers[0]?.disconnect()
      callers[0] = await admitted(t, port)
      await refused(t, server, port)
      for (const caller of callers) caller.disconnect()
      await until(() => server.stats().leases === 0)
    }
    t.regex(server.metrics(), /socketserver_routed_connections_total\{result="too-many-from-source"\} [1-9]/)
  })
}

test('a killed worker ends its connections, and others count on', async (t) => {
  const { server, port } = await startLimited(t)
  const { pool } = forkFixture(server, 'echo')
  await pool.ready
  const callers = [await admitted(t, port), await admitted(t, port), await admitted(t, port)]
  await refused(t, server, port)
  process.kill(pool.workers[0]?.pid ?? 0, 'SIGKILL')
  for (const caller of callers) await caller.answer().catch(() => {})
  for (let count = 0; count < 3; count++) await admitted(t, port)
  await refused(t, server, port)
})

test('clients behind a proxy have limits of their own', async (t) => {
  const { server, port } = await startLimited(t, { maxPerSource: 1, proxyProtocol: { from: '127.0.0.1' } })
  await forkFixture(server, 'echo').pool.ready
  const [one, other] = ['192.0.2.1', '192.0.2.2'].map((ip) => `PROXY TCP4 ${ip} 192.0.2.9 4000 80\r\n`)
  await admitted(t, port, one)
  await admitted(t, port, other)
  await t.throwsAsync(
    call(t, port)
      .send(one ?? '')
      .answer(),
    { code: 'ECONNRESET' },
  )
  t.like(server.stats().routed, { proxied: 2, [RESULT]: 1 })
})

test('an invalid limit is an error that names the option and the value', async (t) => {
  const server = startServer(t)
  for (const maxPerSource of [0, -1, 1.5, 2 ** 32]) {
    await t.throwsAsync(server.listen({ port: 0, maxPerSource }), {
      code: 'ERR_OUT_OF_RANGE',
      message: new RegExp(`"options\\.maxPerSource".* Received ${maxPerSource}$`),
    })
  }
  const text: object = { port: 0, maxPerSource: '5' }
  await t.throwsAsync(Reflect.apply(server.listen, server, [text]), {
    code: 'ERR_INVALID_ARG_TYPE',
    message: /"options\.maxPerSource".*'5'/,
  })
  t.throws(() => server.run(fixture('echo'), { maxPerSource: 0 }), { message: /"options\.maxPerSource".* Received 0$/ })
})

test('a Unix socket needs proxyProtocol for the limit, because its clients have no address', async (t) => {
  const server = startServer(t)
  const path = join(temporaryDirectory(t), 'app.sock')
  await t.throwsAsync(server.listen({ path, maxPerSource: 5 }), {
    code: 'ERR_INVALID_ARG_VALUE',
    message: /"options\.maxPerSource" property needs proxyProtocol on a Unix socket.* Received 5$/,
  })
  await t.notThrowsAsync(server.listen({ path, maxPerSource: 5, proxyProtocol: { from: 'unix' } }))
})

test('server.run() limits the connections of each client of its app', async (t) => {
  const { server, port } = await runApp(t, 'listening-session-server', {
    maxPerSource: 1,
    env: { ...process.env, PORT: '0' },
  })
  // The app waits for the request.
  await call(t, port).connected()
  await refused(t, server, port)
})

for (const bind of [
  ['--port', '0'],
  ['--bind', '127.0.0.1:0', '--bind', 'unix:app.sock'],
]) {
  test(`socketserver run --max-per-source limits the connections of each client, with ${bind[0]}`, async (t) => {
    const options = ['run', '-w', '1', '--max-per-source', '1', ...bind]
    const app = new Terminal(t).start([...options, fixture('listening-session-server')])
    const port = await app.port()
    // The app waits for the request.
    await call(t, port).connected()
    await t.throwsAsync(call(t, port).answer(), { code: 'ECONNRESET' })
  })
}
