// PM2's idiom: `server.close(() => process.exit(0))`. Connections that were answered and closed by then are not cut.

import { once } from 'node:events'
import { connect } from 'node:http2'
import { text } from 'node:stream/consumers'
import type { Pool, Server, WorkerHandle } from '@socketserver/node'
import test from 'ava'
import { ask } from '../helpers/caller.js'
import { fetchOnce } from '../helpers/http.js'
import { serve, startThreads } from '../helpers/served.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

/** Sends a request and returns its answer. */
async function request(kind: string, port: number): Promise<string> {
  if (kind === 'net') return await ask(port, 'a question')
  if (kind !== 'http2') return (await fetchOnce(port, { secure: kind === 'https' })).body
  const session = connect(`http://127.0.0.1:${port}`)
  try {
    return await within(text(session.request({ ':path': '/' })), 'an answer')
  } finally {
    session.destroy()
  }
}

const ENDS: Record<string, (server: Server, pool: Pool<WorkerHandle>) => Promise<unknown>> = {
  'the server drains': async (server) => await server.close(),
  'the pool is reloaded': async (_server, pool) => await pool.reload(),
}

for (const [where, start] of [
  ['process', serve],
  ['thread', startThreads],
] as const) {
  for (const kind of ['net', 'http', 'https', 'http2']) {
    for (const [when, end] of Object.entries(ENDS)) {
      test(`a ${where} that exits in the callback of close() of ${kind} cuts nothing when ${when}`, async (t) => {
        const args = where === 'process' ? { args: [kind] } : { argv: [kind] }
        const { server, pool, reports, port } = await start(t, 'exit-when-closed', args)
        const [worker] = pool.workers
        const answer = request(kind, port)
        await reports.next('asked')
        const exited = once(server, 'exit')
        const ended = end(server, pool)
        t.is(await answer, 'answered')
        t.like(await within(exited, 'the exit'), [{ id: worker?.id }, 0, null])
        await ended
        t.is(server.stats().cut, 0)
      })
    }
  }
}

for (const kind of ['net', 'http', 'https', 'http2']) {
  test(`a process that exits in the callback of close() of ${kind} cuts nothing when it gets SIGTERM`, async (t) => {
    const { server, pool, reports, port } = await serve(t, 'exit-when-closed', { args: [kind], restart: false })
    const [worker] = pool.workers
    const answer = request(kind, port)
    await reports.next('asked')
    worker?.process.kill('SIGTERM')
    t.is(await answer, 'answered')
    await until(() => worker?.state === 'exited')
    t.is(worker?.process.exitCode, 0)
    await until(() => server.stats().leases === 0)
    t.is(server.stats().cut, 0)
  })
}
