import type { Pool, RunOptions, Server, ServerOptions } from '@socketserver/node'
import type { ExecutionContext } from 'ava'
import { fixture } from './fixture.js'
import { Reports } from './reports.js'
import { portOf, startServer } from './served.js'

/** An app that does not know this package and runs as workers of a server. */
export interface RunningApp {
  server: Server
  pool: Pool
  reports: Reports
  /** The port of its first listener; for an app that listens on one. */
  readonly port: number
}

/** Starts a fixture, or the file with this absolute path, by `server.run()`; by default two workers. Does not wait. */
export function startApp(
  t: ExecutionContext,
  name: string,
  { server: serverOptions, ...options }: Omit<RunOptions, 'threads'> & { server?: ServerOptions } = {},
): RunningApp {
  const server = startServer(t, serverOptions)
  const entry = name.startsWith('/') ? name : fixture(name)
  const pool = server.run(entry, { workers: 2, execArgv: [], ...options })
  const reports = new Reports()
  server.on('start', (worker) => reports.listenTo(worker))
  return {
    server,
    pool,
    reports,
    get port() {
      return portOf(server.addresses()[0])
    },
  }
}

/** The same, when every worker is ready. */
export async function runApp(...given: Parameters<typeof startApp>): Promise<RunningApp> {
  const app = startApp(...given)
  await app.pool.ready
  return app
}
