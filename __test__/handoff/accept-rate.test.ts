import { connect } from 'node:net'
import type { Server } from '@socketserver/node'
import type { ExecutionContext } from 'ava'
import { linuxSerial } from '../helpers/conditional-test.js'
import { OTHER, policyOf, threadsOf } from '../helpers/processes.js'
import type { Reports } from '../helpers/reports.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

linuxSerial(
  'threads run as SCHED_BATCH at a high accept rate and return to SCHED_OTHER afterwards, although clients stay connected',
  async (t) => {
    const { server, worker, reports } = await flood(t, 10)
    const isOther = (thread: number): boolean => policyOf(thread) === OTHER
    await until(() => threadsOf(worker).every(isOther))
    t.is(threadsOf(worker, 'socketserver').length, 1)
    await until(() => threadsOf(process.pid, 'socketserver').every(isOther))
    t.is(server.stats().leases, CLIENTS)
    t.is(reports.count('waits'), 1)
  },
)

/** Lets a worker take many queued connections at once. Repeats until the accept rate is high: other tests may use the CPUs. */
async function flood(
  t: ExecutionContext,
  attempts: number,
): Promise<{ server: Server; worker: number; reports: Reports }> {
  const server = startServer(t, { maxQueue: CLIENTS })
  const port = await listen(server)
  const clients = Array.from({ length: CLIENTS }, () => connect(port, '127.0.0.1').on('error', () => {}))
  t.teardown(() => clients.forEach((client) => void client.destroy()))
  await until(() => server.stats().queued === CLIENTS)
  // The connections are queued, so the worker gets them as fast as it takes them.
  const { pool, reports } = forkFixture(server, 'report-sched-batch')
  await until(() => server.stats().leases === CLIENTS)
  const worker = pool.workers[0]?.pid ?? 0
  if (reports.count('waits') > 0) return { server, worker, reports }
  if (attempts <= 1) throw new Error('No worker took its connections fast enough')
  server.destroy()
  for (const client of clients) client.destroy()
  return flood(t, attempts - 1)
}

const CLIENTS = 1000
