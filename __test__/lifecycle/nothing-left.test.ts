import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createServer, type Server } from '@socketserver/node'
import type { ExecutionContext } from 'ava'
import { ask, Caller } from '../helpers/caller.js'
import { linuxSerial } from '../helpers/conditional-test.js'
import { descriptors, isRunning, threads } from '../helpers/processes.js'
import { forkFixture, listen } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'

const ENDS: Record<string, (server: Server) => Promise<void>> = {
  closed: (server) => server.close(),
  destroyed: (server) => {
    server.destroy()
    return server.close()
  },
  'drained and closed': async (server) => {
    await server.drain()
    await server.close()
  },
}

for (const [how, end] of Object.entries(ENDS)) {
  linuxSerial(`a server that is ${how} leaves no process, thread, descriptor or socket file`, async (t) => {
    await runOnce(t, end)
    const before = { descriptors: descriptors(), threads: threads() }
    for (let round = 0; round < 3; round++) await runOnce(t, end)
    await until(() => descriptors() <= before.descriptors)
    // The threads that close descriptors end after some idle time.
    await until(() => threads() <= before.threads)
    t.pass()
  })
}

async function runOnce(t: ExecutionContext, end: (server: Server) => Promise<void>): Promise<void> {
  const server = createServer()
  t.teardown(() => server.destroy())
  const port = await listen(server)
  const { path } = await server.listen({ path: join(temporaryDirectory(t), 'socket') })
  const { pool } = forkFixture(server, 'answer-tokens', { workers: 2, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
  await pool.ready
  const pids = pool.workers.map(({ pid }) => pid ?? 0)
  await Promise.all([ask(port, 'a\n'), ask(path, 'b\n'), ask(port, 'c\n')])
  // The worker may still hold this connection, whose client has disconnected, when the server ends.
  new Caller(port).disconnect()
  await until(() => server.stats().leases <= 1)
  await end(server)
  t.false(pids.some(isRunning))
  t.false(existsSync(path))
}
