// `socketserver run --admin`.

import test from 'ava'
import { fixture } from '../helpers/fixture.js'
import { fetchOnce } from '../helpers/http.js'
import { Terminal } from '../helpers/terminal.js'
import { until } from '../helpers/until.js'

test('--admin serves the metrics of an unmodified app', async (t) => {
  const app = new Terminal(t).start(['run', '--bind', '127.0.0.1:0', '--admin', '0', '-w', '2', fixture('hello-app')])
  const [, port] = await app.says(/page, metrics and probes: http:\/\/127\.0\.0\.1:(\d+)\/\n/)
  await app.port()
  const { status, body } = await fetchOnce(Number(port), { path: '/metrics' })
  t.is(status, 200)
  t.true(body.includes('socketserver_workers{pool="hello-app.js",state="ready"} 2\n'))
  t.is((await fetchOnce(Number(port), { path: '/startupz' })).status, 200)
})

test('status, /status.json and /metrics have the same numbers', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.start(['run', '--bind', '127.0.0.1:0', '--admin', '0', '-w', '2', fixture('hello-app')])
  const [, admin] = await app.says(/page, metrics and probes: http:\/\/127\.0\.0\.1:(\d+)\/\n/)
  const port = await app.port()
  const get = async (path: string): Promise<string> => (await fetchOnce(Number(admin), { path })).body
  for (let count = 0; count < 5; count++) await fetchOnce(port)
  await until(async () => (await terminal.status()).stats.leases === 0)
  const [status, json, metrics] = [
    await terminal.status(),
    JSON.parse(await get('/status.json')),
    await get('/metrics'),
  ]
  const value = (sample: string): number => {
    const line = metrics.split('\n').find((each) => each.startsWith(`${sample} `)) ?? ''
    return Number(line.slice(sample.length))
  }
  t.is(status.stats.accepted, 5)
  t.is(value(`socketserver_connections_accepted_total{listener="127.0.0.1:${port}"}`), 5)
  for (const name of ['accepted', 'handedOff', 'requeued', 'handedBack', 'shed', 'queued', 'leases'] as const) {
    t.is(json.stats[name], status.stats[name], name)
  }
  t.is(status.workers.length, 2)
  for (const { slot, id, pid, generation, state, leases, handled, restarts } of status.workers) {
    const other = json.workers.find((worker: { id: number }) => worker.id === id)
    t.like(other, { slot, pid, generation, state, leases, handled, restarts })
    t.is(value(`socketserver_worker_handled_total{pool="hello-app.js",slot="${slot}"}`), handled)
  }
})

test('--admin with anything but an address is a mistake', async (t) => {
  const { code, stderr } = await new Terminal(t).type('run', '--admin', 'nowhere', fixture('hello-app'))
  t.is(code, 2)
  t.true(stderr.includes("--admin must be 9090, host:9090, [::1]:9090 or unix:/path, not 'nowhere'"), stderr)
})
