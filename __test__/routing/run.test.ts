// The routing options apply to the listeners of an app that listens by itself.

import { writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import test from 'ava'
import { fixture } from '../helpers/fixture.js'
import { fetchOnce } from '../helpers/http.js'
import { runApp } from '../helpers/run-app.js'
import { startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { Terminal } from '../helpers/terminal.js'

/** Begins sessions, and returns the answers to a further request of each session. */
async function returningSessions(port: number): Promise<unknown[]> {
  const begun = await Promise.all(Array.from({ length: 40 }, () => fetchOnce(port)))
  return await Promise.all(
    begun.map(async ({ body }) => {
      const { id, slot } = JSON.parse(body)
      const again = await fetchOnce(port, { path: `/?sid=${id}` })
      return { status: again.status, isSameSlot: JSON.parse(again.body).slot === slot, slot }
    }),
  )
}

/** Sends a request behind a PROXY header, and returns the client's address that the app has seen. */
async function addressBehindProxy(port: number): Promise<string> {
  const socket = createConnection({ port, host: '127.0.0.1' })
  socket.write('PROXY TCP4 192.0.2.7 192.0.2.1 4000 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n')
  const [, body = ''] = (await text(socket)).split('\r\n\r\n')
  return JSON.parse(body.replace(/^[0-9a-f]+\r\n|\r\n.*$/gs, '')).remoteAddress
}

for (const threads of [false, true]) {
  const bind = threads ? ['--bind', '127.0.0.1:0'] : ['--port', '0']
  const title = threads ? 'in threads, at an address of --bind' : 'in processes, at an address of the app'
  test(`socketserver run with sticky returns each session to its slot, ${title}`, async (t) => {
    const config = join(temporaryDirectory(t), 'socketserver.config.json')
    // The times are those of a loaded machine.
    const sticky = { query: 'sid', timeout: 60_000, wait: 60_000 }
    writeFileSync(config, JSON.stringify({ app: fixture('listening-session-server'), workers: 3, threads, sticky }))
    const app = new Terminal(t).start(['run', ...bind, config])
    const answers = await returningSessions(await app.port())
    t.deepEqual(new Set(answers.map((answer) => JSON.stringify(answer))).size, 3)
    for (const answer of answers) t.like(answer, { status: 200, isSameSlot: true })
  })
}

test('socketserver run --proxy-protocol gives the app the address of the client', async (t) => {
  const options = ['run', '-w', '1', '--proxy-protocol', '127.0.0.0/8,::1', '--port', '0']
  const app = new Terminal(t).start([...options, fixture('listening-session-server')])
  t.is(await addressBehindProxy(await app.port()), '192.0.2.7')
})

test('server.run() applies its routing options to the listeners of its app only', async (t) => {
  const proxyProtocol = { from: '127.0.0.1' }
  const behind = await runApp(t, 'listening-session-server', { proxyProtocol, env: { ...process.env, PORT: '0' } })
  t.is(await addressBehindProxy(behind.port), '192.0.2.7')
  const direct = behind.server.run(fixture('listening-session-server'), { workers: 1, execArgv: [], port: 0 })
  await direct.ready
  const [, second] = behind.server.addresses()
  t.true(second !== undefined && 'port' in second)
  const { port } = Object.assign({ port: 0 }, second)
  t.is(JSON.parse((await fetchOnce(port)).body).remoteAddress, '127.0.0.1')
  t.deepEqual(behind.server.stats().routed, { proxied: 1 })
})

test('server.run() throws for invalid routing options', (t) => {
  const run = (options: object): unknown => startServer(t).run(fixture('listening-session-server'), options)
  t.throws(() => run({ sticky: 'cookie' }), { message: /options\.sticky.*'address', 'sni'/ })
  t.throws(() => run({ proxyProtocol: { from: 'everywhere' } }), { message: /options\.proxyProtocol\.from/ })
})
