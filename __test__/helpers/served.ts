import {
  createServer,
  type ForkOptions,
  type ListenAddress,
  type Pool,
  type Server,
  type ServerOptions,
  type ThreadHandle,
  type ThreadOptions,
} from '@socketserver/node'
import type { ExecutionContext } from 'ava'
import { fixture } from './fixture.js'
import { Reports } from './reports.js'

/** Creates a server that is destroyed at the end of the test. */
export function startServer(t: ExecutionContext, options?: ServerOptions): Server {
  const server = createServer(options)
  t.teardown(async () => {
    server.destroy()
    await server.close()
  })
  return server
}

/** Starts workers of a fixture, by default one, and collects their reports. */
export function forkFixture(server: Server, name: string, options: ForkOptions = {}): { pool: Pool; reports: Reports } {
  const pool = server.fork(fixture(name), { workers: 1, execArgv: [], ...options })
  const reports = new Reports()
  server.on('start', (worker) => {
    if (pool.workers.some(({ id }) => id === worker.id)) reports.listenTo(worker)
  })
  return { pool, reports }
}

export interface Served {
  server: Server
  pool: Pool
  reports: Reports
  port: number
}

/** Starts a server on a free port of 127.0.0.1 with worker processes of a fixture, and waits until they are ready. */
export async function serve(
  t: ExecutionContext,
  name: string,
  { server: serverOptions, ...forkOptions }: ForkOptions & { server?: ServerOptions } = {},
): Promise<Served> {
  const server = startServer(t, serverOptions)
  const port = await listen(server)
  const { pool, reports } = forkFixture(server, name, forkOptions)
  await pool.ready
  return { server, pool, reports, port }
}

/** Starts a server like `serve()`, with worker threads. */
export async function startThreads(
  t: ExecutionContext,
  name: string,
  { server: serverOptions, ...threadOptions }: ThreadOptions & { server?: ServerOptions } = {},
): Promise<Omit<Served, 'pool'> & { pool: Pool<ThreadHandle> }> {
  const server = startServer(t, serverOptions)
  const port = await listen(server)
  const pool = server.threads(fixture(name), { workers: 1, execArgv: [], ...threadOptions })
  const reports = new Reports()
  server.on('start', (worker) => reports.listenTo(worker))
  await pool.ready
  return { server, pool, reports, port }
}

/** Listens on a free port of 127.0.0.1. */
export async function listen(server: Server): Promise<number> {
  const { port } = await server.listen(0, '127.0.0.1')
  return port
}

/** Returns the port of a TCP address. */
export function portOf(address: ListenAddress | undefined): number {
  if (address === undefined || !('port' in address)) throw new Error('The address has no port')
  return address.port
}
