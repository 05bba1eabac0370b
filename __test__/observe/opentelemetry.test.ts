// OpenTelemetry: the counters of a server, and an identity for each worker.

import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import test from 'ava'
import { call } from '../helpers/caller.js'
import { fixture } from '../helpers/fixture.js'
import { Reports } from '../helpers/reports.js'
import { serve, startServer } from '../helpers/served.js'

class Reader extends MetricReader {
  async onForceFlush(): Promise<void> {}
  async onShutdown(): Promise<void> {}
}

/** Returns the current values of a reader, by name and attributes. */
async function read(reader: Reader): Promise<Record<string, number>> {
  const { resourceMetrics } = await reader.collect()
  const metrics = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics)
  return Object.fromEntries(
    metrics.flatMap(({ descriptor, dataPoints }) =>
      dataPoints.map(({ attributes, value }) => [
        [descriptor.name, ...Object.values(attributes)].join(' '),
        typeof value === 'number' ? value : Number.NaN,
      ]),
    ),
  )
}

test('instrument() registers the counters of a server with a real meter, and returns a function that removes them', async (t) => {
  const { server, port } = await serve(t, 'echo')
  const reader = new Reader()
  const provider = new MeterProvider({ readers: [reader] })
  t.teardown(() => provider.shutdown())
  const remove = server.instrument(provider.getMeter('test'))
  const caller = call(t, port).send('words')
  await caller.receives('words')
  t.like(await read(reader), {
    'socketserver.connections.accepted': 1,
    'socketserver.connections.handed_off': 1,
    'socketserver.connections leased': 1,
    'socketserver.workers ready': 1,
    'socketserver.worker.restarts': 0,
  })
  remove()
  const later = call(t, port).send('words')
  await later.receives('words')
  t.not((await read(reader))['socketserver.connections.accepted'], 2)
})

for (const kind of ['fork', 'threads'] as const) {
  test(`each worker of ${kind}() has a unique instance id, unless the variable has one`, async (t) => {
    const attributesOf = async (env: NodeJS.ProcessEnv): Promise<string[]> => {
      const server = startServer(t)
      const reports = new Reports()
      server.on('start', (worker) => reports.listenTo(worker))
      const options = { workers: 2, execArgv: [], env: { ...process.env, ...env } }
      const pool = server[kind](fixture('report-environment'), options)
      await pool.ready
      const started = [await reports.next('started'), await reports.next('started')]
      return started.map(({ env: seen }) => String(Object(seen)['OTEL_RESOURCE_ATTRIBUTES']))
    }
    const own = await attributesOf({ OTEL_RESOURCE_ATTRIBUTES: 'service.name=shop' })
    t.is(new Set(own).size, 2)
    for (const each of own)
      t.regex(each, /^service\.name=shop,service\.instance\.id=[0-9a-f-]{36},socketserver\.slot=[01]$/)
    t.deepEqual(await attributesOf({ OTEL_RESOURCE_ATTRIBUTES: 'service.instance.id=given' }), [
      'service.instance.id=given',
      'service.instance.id=given',
    ])
  })
}
