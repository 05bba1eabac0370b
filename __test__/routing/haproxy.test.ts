// A real HAProxy in front of a server uses both versions of the PROXY protocol. Its health checks cause no errors.

import { spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { freePort } from '../helpers/free-port.js'
import { fetchOnce } from '../helpers/http.js'
import { forkFixture, portOf, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'

const hasHaproxy = spawnSync('haproxy', ['-v']).status === 0
if (!hasHaproxy) console.warn('HAProxy is not installed: tests with it are skipped.')
const haproxyTest = hasHaproxy ? test : test.skip

/** Starts HAProxy in front of a port. Returns its port. */
async function startHaproxy(t: ExecutionContext, port: number, options: string): Promise<number> {
  const front = await freePort()
  const file = join(temporaryDirectory(t), 'haproxy.cfg')
  const lines = [
    'defaults',
    '  mode tcp',
    '  timeout connect 5s',
    '  timeout client 5s',
    '  timeout server 5s',
    'listen front',
    `  bind 127.0.0.1:${front}`,
    '  unique-id-format %{+X}o\\ %ci:%cp',
    `  server app 127.0.0.1:${port} ${options}`,
    '',
  ]
  writeFileSync(file, lines.join('\n'))
  const haproxy = spawn('haproxy', ['-f', file, '-db'], { stdio: ['ignore', 'ignore', 'inherit'] })
  t.teardown(() => haproxy.kill('SIGKILL'))
  return front
}

for (const [options, version] of [
  ['send-proxy', 1],
  ['send-proxy-v2', 2],
  ['send-proxy-v2 proxy-v2-options crc32c,unique-id', 2],
  ['send-proxy-v2-ssl-cn check inter 100ms', 2],
] as const) {
  haproxyTest(`HAProxy with ${options} sends the address of the client`, async (t) => {
    const server = startServer(t)
    const proxyProtocol = { from: '127.0.0.1' }
    const port = portOf(await server.listen({ port: 0, host: '127.0.0.1', proxyProtocol }))
    const { pool } = forkFixture(server, 'tell-client', { args: ['http'] })
    await pool.ready
    const front = await startHaproxy(t, port, options)
    let body = ''
    await until(async () => {
      body = await fetchOnce(front).then(
        (answer) => answer.body,
        () => '',
      )
      return body !== ''
    })
    const seen = JSON.parse(body)
    t.like(seen, { remoteAddress: '127.0.0.1', localPort: front, proxy: { version } })
    t.not(seen.remotePort, seen.via.remotePort)
    if (options.includes('unique-id')) t.true(seen.proxy.uniqueId.data.length > 0)
    if (options.includes('check')) await until(() => (server.stats().routed['local'] ?? 0) > 2)
    const { routed } = server.stats()
    const wrong = Object.keys(routed).filter((result) => !['proxied', 'local', 'closed'].includes(result))
    t.deepEqual(wrong, [])
  })
}
