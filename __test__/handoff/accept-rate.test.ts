import { connect } from 'node:net'
import { linuxSerial } from '../helpers/conditional-test.js'
import { OTHER, policyOf, threadsOf } from '../helpers/processes.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

linuxSerial('who has waited its turn in a rush no longer does when no more come, though clients stay', async (t) => {
  const server = startServer(t, { maxQueue: CLIENTS })
  const port = await listen(server)
  const clients = Array.from({ length: CLIENTS }, () => connect(port, '127.0.0.1').on('error', () => {}))
  t.teardown(() => clients.forEach((client) => void client.destroy()))
  await until(() => server.stats().queued === CLIENTS)
  // They have waited for it, and come as fast as it takes them.
  const { pool, reports } = forkFixture(server, 'hold-and-say-policy')
  await reports.next('waits')
  const worker = pool.workers[0]?.pid ?? 0
  const isAsBefore = (thread: number): boolean => policyOf(thread) === OTHER
  await until(() => threadsOf(worker).every(isAsBefore))
  t.is(threadsOf(worker, 'socketserver').length, 1)
  await until(() => threadsOf(process.pid, 'socketserver').every(isAsBefore))
  await until(() => server.stats().leases === CLIENTS)
  t.is(reports.count('waits'), 1)
})

const CLIENTS = 1000
