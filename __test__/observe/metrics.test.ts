// The metrics of the server, which the parent returns without asking the workers.

import { spawnSync } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import type { Server } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { call } from '../helpers/caller.js'
import { fixture } from '../helpers/fixture.js'
import { forkFixture, listen, portOf, serve, startServer, startThreads } from '../helpers/served.js'
import { stop } from '../helpers/stop.js'
import { until } from '../helpers/until.js'

/** Returns the values of the samples of one family by their labels. The key of a sample without labels is the family's name. */
function values(text: string, name: string): Record<string, number> {
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
  return Object.fromEntries(
    lines.map((line) => {
      const end = line.lastIndexOf(' ')
      return [line.slice(0, end).replace(name, '') || name, Number(line.slice(end + 1))]
    }),
  )
}

async function disconnectAll(server: Server, callers: readonly { disconnect(): void }[]): Promise<void> {
  for (const caller of callers) caller.disconnect()
  await until(() => server.stats().leases === 0)
}

test('metrics() counts connections by listener, pool and slot', async (t) => {
  const { server, pool, port } = await serve(t, 'echo', { workers: 2 })
  const callers = Array.from({ length: 4 }, () => call(t, port).send('words'))
  for (const caller of callers) await caller.receives('words')
  const text = server.metrics()
  t.is(values(text, 'socketserver_connections_accepted_total')[`{listener="127.0.0.1:${port}"}`], 4)
  t.is(values(text, 'socketserver_connections_handed_off_total')['{pool="echo.js"}'], 4)
  t.is(values(text, 'socketserver_connections')['{state="leased"}'], 4)
  const handled = pool.workers.map((worker) => [`{pool="echo.js",slot="${worker.slot}"}`, worker.handled])
  t.deepEqual(values(text, 'socketserver_worker_handled_total'), Object.fromEntries(handled))
  t.deepEqual(values(text, 'socketserver_workers'), {
    '{pool="echo.js",state="starting"}': 0,
    '{pool="echo.js",state="ready"}': 2,
    '{pool="echo.js",state="draining"}': 0,
  })
  t.is(values(text, 'socketserver_queue_wait_seconds_count')['socketserver_queue_wait_seconds_count'], 4)
  t.is(values(text, 'socketserver_queue_wait_seconds_bucket')['{le="+Inf"}'], 4)
  t.is(values(text, 'socketserver_queue_limit')['socketserver_queue_limit'], 1024)
})

test('every series of a pool starts at 0', async (t) => {
  const { server } = await serve(t, 'echo')
  const text = server.metrics()
  t.is(values(text, 'socketserver_worker_restarts_total')['{pool="echo.js",reason="signal"}'], 0)
  t.is(values(text, 'socketserver_reloads_total')['{pool="echo.js",result="failed"}'], 0)
  t.is(values(text, 'socketserver_connections_cut_total')['{pool="echo.js",reason="exited"}'], 0)
  t.is(values(text, 'socketserver_accept_errors_total')['{code="EMFILE"}'], 0)
  t.is(values(text, 'socketserver_connections_requeued_total')['{reason="worker_lost"}'], 0)
})

for (const kind of ['processes', 'threads'] as const) {
  test(`the lease times of ${kind} are measured by the workers`, async (t) => {
    const { server, port } = await (kind === 'processes' ? serve(t, 'echo') : startThreads(t, 'echo'))
    const began = performance.now()
    const caller = call(t, port).send('words')
    await caller.receives('words')
    await delay(30)
    await disconnectAll(server, [caller])
    const longest = (performance.now() - began) / 1000
    const text = server.metrics()
    t.is(values(text, 'socketserver_lease_seconds_count')['{pool="echo.js"}'], 1)
    const sum = values(text, 'socketserver_lease_seconds_sum')['{pool="echo.js"}'] ?? 0
    t.true(sum >= 0.02 && sum <= longest, `${sum} s`)
    t.is(values(text, 'socketserver_lease_seconds_bucket')['{pool="echo.js",le="0.01"}'], 0)
  })
}

test('the counters of a slot continue when its worker is killed, and the restart is counted by reason', async (t) => {
  const { server, pool, port } = await serve(t, 'echo', { restart: { minDelay: 1 } })
  const handled = () => values(server.metrics(), 'socketserver_worker_handled_total')['{pool="echo.js",slot="0"}'] ?? -1
  const first = call(t, port).send('words')
  await first.receives('words')
  const [worker] = pool.workers
  process.kill(worker?.process?.pid ?? 0, 'SIGKILL')
  await until(() => pool.workers.some(({ id, state }) => id !== worker?.id && state === 'ready'))
  t.is(handled(), 1)
  const second = call(t, port).send('words')
  await second.receives('words')
  t.is(handled(), 2)
  const text = server.metrics()
  t.is(values(text, 'socketserver_worker_restarts_total')['{pool="echo.js",reason="signal"}'], 1)
  t.is(values(text, 'socketserver_connections_cut_total')['{pool="echo.js",reason="exited"}'], 1)
  await disconnectAll(server, [second])
})

test('reloads are counted by result', async (t) => {
  const { server, pool } = await serve(t, 'echo')
  await pool.reload()
  t.is(values(server.metrics(), 'socketserver_reloads_total')['{pool="echo.js",result="done"}'], 1)
})

test('two pools of one entry have different labels', async (t) => {
  const { server } = await serve(t, 'echo')
  await forkFixture(server, 'echo').pool.ready
  t.is(values(server.metrics(), 'socketserver_workers')['{pool="echo.js#2",state="ready"}'], 1)
})

test('metrics() does not wait for a stopped worker', async (t) => {
  const { server, pool, port } = await serve(t, 'echo')
  const [worker] = pool.workers
  await stop(t, worker?.process?.pid ?? 0)
  call(t, port).send('words')
  await until(() => server.stats().accepted === 1)
  t.is(values(server.metrics(), 'socketserver_connections_accepted_total')[`{listener="127.0.0.1:${port}"}`], 1)
})

test('the time without accepting is counted while the queue is full', async (t) => {
  const server = startServer(t, { maxQueue: 1 })
  const port = await listen(server)
  const callers = [call(t, port).send('a'), call(t, port).send('b')]
  await until(() => server.stats().paused)
  const seconds = () =>
    values(server.metrics(), 'socketserver_accept_paused_seconds_total')['socketserver_accept_paused_seconds_total'] ??
    0
  await until(() => seconds() > 0)
  t.is(values(server.metrics(), 'socketserver_accept_paused')['socketserver_accept_paused'], 1)
  if (process.platform === 'linux') {
    await until(() => values(server.metrics(), 'socketserver_listen_backlog')[`{listener="127.0.0.1:${port}"}`] === 1)
    t.true((values(server.metrics(), 'socketserver_listen_backlog_limit')[`{listener="127.0.0.1:${port}"}`] ?? 0) > 1)
  }
  for (const caller of callers) caller.disconnect()
})

test('the busy time of a slot increases while its event loop is busy', async (t) => {
  const { server, pool } = await serve(t, 'spin-on-command')
  const busy = () =>
    values(server.metrics(), 'socketserver_worker_busy_seconds_total')['{pool="spin-on-command.js",slot="0"}'] ?? 0
  const before = busy()
  for (const { process } of pool.workers) process?.send(300)
  await until(() => busy() - before >= 0.25)
  t.pass()
})

test('a turn of the event loop is counted with its duration, although the event loop then waits', async (t) => {
  const { server, pool } = await serve(t, 'spin-in-timer')
  const labels = '{pool="spin-in-timer.js"'
  const delays = (suffix: string): Record<string, number> =>
    values(server.metrics(), `socketserver_worker_event_loop_delay_seconds_${suffix}`)
  const longer = (): number => (delays('count')[`${labels}}`] ?? 0) - (delays('bucket')[`${labels},le="0.25"}`] ?? 0)
  const busy = (): number =>
    values(server.metrics(), 'socketserver_worker_busy_seconds_total')[`${labels},slot="0"}`] ?? 0
  await until(() => delays('count')[`${labels}}`] !== 0)
  const [before, busyBefore] = [longer(), busy()]
  for (const { process } of pool.workers) process?.send(400)
  await until(() => longer() > before)
  t.true(busy() - busyBefore >= 0.35)
  t.true((delays('sum')[`${labels}}`] ?? 0) >= 0.35)
})

test('a connection whose first bytes are awaited for routing is counted', async (t) => {
  const server = startServer(t)
  const proxyProtocol = { from: '127.0.0.1', timeout: 60_000 }
  const port = portOf(await server.listen({ port: 0, host: '127.0.0.1', proxyProtocol }))
  const states = (): Record<string, number> => values(server.metrics(), 'socketserver_connections')
  t.is(states()['{state="pending"}'], 0)
  const caller = call(t, port)
  await until(() => states()['{state="pending"}'] === 1)
  t.is(states()['{state="queued"}'], 0)
  caller.send('PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n')
  await until(() => states()['{state="queued"}'] === 1)
  t.is(states()['{state="pending"}'], 0)
})

test('the results of routing and the refusals of the PROXY protocol are counted from 0', async (t) => {
  const server = await routing(t)
  const text = server.metrics()
  t.is(values(text, 'socketserver_routed_connections_total')['{result="refused"}'], 1)
  t.is(values(text, 'socketserver_routed_connections_total')['{result="proxied"}'], 0)
  t.deepEqual(server.stats().routed, { refused: 1 }, 'stats() has only results that occurred')
  t.is(values(text, 'socketserver_proxy_refused_connections_total')['{reason="refused"}'], 1)
  t.is(values(text, 'socketserver_proxy_refused_connections_total')['{reason="wrong-checksum"}'], 0)
  t.deepEqual(values(startServer(t).metrics(), 'socketserver_routed_connections_total'), {})
})

/** Returns a server that expects the PROXY protocol and has refused one connection. */
async function routing(t: ExecutionContext): Promise<Server> {
  const server = startServer(t)
  const proxyProtocol = { from: '192.0.2.1', others: 'refuse' } as const
  const { port } = await server.listen({ port: 0, host: '127.0.0.1', proxyProtocol, sticky: 'address' })
  await t.throwsAsync(call(t, port).answer(), { code: 'ECONNRESET' })
  return server
}

test('an unknown format is refused', (t) => {
  const server = startServer(t)
  t.throws(() => Reflect.apply(server.metrics, server, [{ format: 'json' }]), { code: 'ERR_INVALID_ARG_VALUE' })
})

const hasPromtool = spawnSync('promtool', ['--version']).status === 0
if (!hasPromtool) console.warn('promtool is not installed (Debian: prometheus): its check of the metrics is skipped.')

const promtoolTest = hasPromtool ? test : test.skip
promtoolTest("Prometheus' own check accepts the metrics", async (t) => {
  const { server, port } = await serve(t, 'echo', { workers: 2 })
  const caller = call(t, port).send('words')
  await caller.receives('words')
  await disconnectAll(server, [caller])
  for (const input of [server.metrics(), (await routing(t)).metrics()]) {
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input })
    t.is(status, 0, `${stdout}${stderr}`)
    t.is(String(stdout), '')
  }
})

test('OpenMetrics ends with # EOF and has counter families without the suffix', async (t) => {
  const { server } = await serve(t, 'echo')
  const text = server.metrics({ format: 'openmetrics' })
  t.true(text.endsWith('\n# EOF\n'))
  t.true(text.includes('# TYPE socketserver_connections_accepted counter\n'))
  t.regex(text, /^socketserver_connections_accepted_total\{listener="[^"]+"\} 0$/m)
  t.true(text.includes('# TYPE socketserver info\n'))
})

test('only socketserver_worker_info has a process id as a label', async (t) => {
  const { server, pool } = await serve(t, 'echo')
  const [worker] = pool.workers
  const lines = server.metrics().split('\n')
  const withPid = lines.filter((line) => line.includes(`"${worker?.pid}"`))
  t.deepEqual(
    withPid.map((line) => line.replace(/\{.*/, '')),
    ['socketserver_worker_info'],
  )
  t.false(server.metrics().includes(fixture('echo')), 'nor a path')
})
