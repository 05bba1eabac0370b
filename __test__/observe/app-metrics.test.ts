// The metrics of the app, which the workers count with prom-client and the parent merges at /metrics.

import type { Server } from '@socketserver/node'
import { exposeMetrics } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { call } from '../helpers/caller.js'
import { fetchOnce } from '../helpers/http.js'
import { portOf, serve, startThreads } from '../helpers/served.js'
import { blocking } from '../helpers/unblock.js'
import { until } from '../helpers/until.js'

const WORKER = 'count-with-prom-client'

async function scrape(admin: number, accept = 'text/plain'): Promise<string> {
  return (await fetchOnce(admin, { path: '/metrics', headers: { accept } })).body
}

/** Returns the value of a sample, or undefined if the sample is missing. */
function sampleOf(text: string, sample: string): number | undefined {
  const line = text.split('\n').find((each) => each.startsWith(`${sample} `))
  return line === undefined ? undefined : Number(line.slice(sample.length))
}

/** Sends connections until each of two workers has had one. */
async function fill(t: ExecutionContext, server: Server, port: number): Promise<void> {
  const callers = [call(t, port).send('words'), call(t, port).send('words')]
  for (const caller of callers) await caller.receives('words')
  await until(() => server.stats().leases === 2)
}

for (const kind of ['processes', 'threads'] as const) {
  test(`counters, gauges and histograms of ${kind} are summed`, async (t) => {
    const started = kind === 'processes' ? serve(t, WORKER, { workers: 2 }) : startThreads(t, WORKER, { workers: 2 })
    const { server, port } = await started
    const admin = portOf(await server.admin({ port: 0 }))
    await fill(t, server, port)
    await until(async () => sampleOf(await scrape(admin), 'socketserver_scrape_workers{result="ok"}') === 2)
    const text = await scrape(admin)
    t.is(sampleOf(text, 'app_connections_total{kind="echo"}'), 2)
    t.is(sampleOf(text, 'app_open'), 2)
    t.is(sampleOf(text, 'app_bytes_bucket{le="10"}'), 2)
    t.is(sampleOf(text, 'app_bytes_sum'), 10)
    const open = await scrape(admin, 'application/openmetrics-text')
    t.is(sampleOf(open, 'app_connections_total{kind="echo"}'), 2)
    t.is(open.match(/^# EOF$/gm)?.length, 1)
  })
}

test('a worker that does not answer is omitted and counted, and no counter decreases', async (t) => {
  const { env, unblock } = blocking(t)
  const { server, pool, port } = await serve(t, WORKER, { workers: 2, env })
  const admin = portOf(await server.admin({ port: 0 }))
  await fill(t, server, port)
  await until(async () => sampleOf(await scrape(admin), 'socketserver_scrape_workers{result="ok"}') === 2)
  pool.workers[0]?.process?.send('block')
  await until(async () => sampleOf(await scrape(admin), 'socketserver_scrape_workers{result="late"}') === 1)
  const text = await scrape(admin)
  t.is(sampleOf(text, 'socketserver_scrape_workers{result="ok"}'), 1)
  t.is(sampleOf(text, 'app_connections_total{kind="echo"}'), 2)
  t.is(sampleOf(text, 'app_open'), pool.workers[1]?.leases, 'a gauge has no value for a worker that does not answer')
  unblock()
  await until(async () => sampleOf(await scrape(admin), 'socketserver_scrape_workers{result="ok"}') === 2)
})

test('the counters of a killed worker stay in the sums', async (t) => {
  const { server, pool, port } = await serve(t, WORKER, { workers: 2, restart: { minDelay: 1 } })
  const admin = portOf(await server.admin({ port: 0 }))
  await fill(t, server, port)
  await until(async () => sampleOf(await scrape(admin), 'app_connections_total{kind="echo"}') === 2)
  const [worker] = pool.workers
  process.kill(worker?.pid ?? 0, 'SIGKILL')
  await until(
    () => pool.workers.length === 2 && pool.workers.every(({ id, state }) => id !== worker?.id && state === 'ready'),
  )
  await until(async () => sampleOf(await scrape(admin), 'socketserver_scrape_workers{result="ok"}') === 2)
  const text = await scrape(admin)
  t.is(sampleOf(text, 'app_connections_total{kind="echo"}'), 2)
  t.is(sampleOf(text, 'app_open'), server.stats().leases)
})

test('without metrics of the app, /metrics has the metrics of the parent process', async (t) => {
  const { server } = await serve(t, 'echo')
  const text = await scrape(portOf(await server.admin({ port: 0 })))
  t.is(sampleOf(text, 'socketserver_scrape_workers{result="ok"}'), undefined)
  if (process.platform === 'linux') t.true((sampleOf(text, 'process_resident_memory_bytes') ?? 0) > 2 ** 20)
})

test('exposeMetrics() throws in a process that no server started', (t) => {
  t.throws(() => exposeMetrics({ getMetricsAsJSON: async () => [] }), { code: 'ERR_SOCKETSERVER_NO_PARENT' })
})
