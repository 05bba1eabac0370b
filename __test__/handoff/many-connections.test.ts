import { loadSerial } from '../helpers/conditional-test.js'
import { assertClean, load } from '../helpers/load.js'
import { descriptors, descriptorsOfWorker } from '../helpers/processes.js'
import { serve } from '../helpers/served.js'
import { countTaken } from '../helpers/taken.js'
import { until } from '../helpers/until.js'

loadSerial('each of many connections is answered once, although some are recalled', async (t) => {
  t.timeout(120_000)
  const { server, pool, reports, port } = await serve(t, 'answer-tokens-with-stalls', { workers: 4 })
  const workers = pool.workers.map(({ pid }) => pid ?? 0)
  const processes = [...workers, process.pid]
  const before = [...(await Promise.all(workers.map(descriptorsOfWorker))), descriptors()]

  const report = await load(t, port, { connections: CONNECTIONS, clients: 64, sources: 8 })

  assertClean(t, report)
  t.is(report.outcomes.ok, CONNECTIONS)
  t.is(await countTaken(pool, reports), CONNECTIONS)
  await until(() => server.stats().leases === 0)
  const { accepted, handedOff, requeued, queued, shed } = server.stats()
  t.deepEqual(
    { accepted, handedOff, queued, shed },
    { accepted: CONNECTIONS, handedOff: CONNECTIONS, queued: 0, shed: 0 },
  )
  t.true(requeued > 0, 'no connection was recalled')
  await until(() => processes.every((pid, index) => descriptors(pid) === before[index]))
  t.log(`${requeued} recalled of ${CONNECTIONS}, ${report.connections_per_second.toFixed(0)} connections a second`)
})

for (const concurrency of [1, 2, 100, Number.POSITIVE_INFINITY]) {
  const workers = concurrency === 2 ? 4 : concurrency === 100 ? 3 : 2
  loadSerial(
    `${workers} workers with a concurrency of ${concurrency} answer every connection at full rate`,
    async (t) => {
      const { server, port } = await serve(t, 'answer-tokens', {
        workers,
        env: { ...process.env, CONCURRENCY: String(concurrency) },
      })
      const report = await load(t, port, { seconds: 1, clients: 128, sources: 8 })
      assertClean(t, report)
      t.is(Object.keys(report.workers).length, workers)
      await until(() => server.stats().leases === 0)
      t.log(`${report.connections_per_second.toFixed(0)} connections a second, slowest ${report.latency_us.max} us`)
    },
  )
}

const CONNECTIONS = Number(process.env['SOCKETSERVER_FAULT_CONNECTIONS'] ?? 100_000)
