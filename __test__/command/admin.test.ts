// `socketserver run --admin`.

import test from 'ava'
import { fixture } from '../helpers/fixture.js'
import { fetchOnce } from '../helpers/http.js'
import { Terminal } from '../helpers/terminal.js'

test('--admin serves the metrics of an unmodified app', async (t) => {
  const app = new Terminal(t).start(['run', '--bind', '127.0.0.1:0', '--admin', '0', '-w', '2', fixture('hello-app')])
  const [, port] = await app.says(/page, metrics and probes: http:\/\/127\.0\.0\.1:(\d+)\/\n/)
  await app.port()
  const { status, body } = await fetchOnce(Number(port), { path: '/metrics' })
  t.is(status, 200)
  t.true(body.includes('socketserver_workers{pool="hello-app.js",state="ready"} 2\n'))
  t.is((await fetchOnce(Number(port), { path: '/startupz' })).status, 200)
})

test('--admin with anything but an address is a mistake', async (t) => {
  const { code, stderr } = await new Terminal(t).type('run', '--admin', 'nowhere', fixture('hello-app'))
  t.is(code, 2)
  t.true(stderr.includes("--admin must be 9090, host:9090, [::1]:9090 or unix:/path, not 'nowhere'"), stderr)
})
