// A server of this package with workers that use socket.io.

import { fileURLToPath } from 'node:url'
import { createServer } from '../../../dist/index.js'
import { WORKERS } from './socket-io-sessions.mjs'

const ENTRY = fileURLToPath(new URL('../fixtures/socket-io-sticky.js', import.meta.url))

/**
 * @typedef {object} Options
 * @property {'processes' | 'threads'} kind
 * @property {'http' | 'https'} [scheme]
 * @property {boolean} [oneRequest] whether the workers close each connection after one request
 * @property {import('../../../dist/index.js').StickyOptions} [sticky]
 * @property {(port: number) => Promise<number>} [startProxy] starts a proxy in front of a port, and returns the proxy's port
 */

/**
 * Starts a server with workers. Returns the subject of a test.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {Options} options
 * @returns {Promise<import('./socket-io-sessions.mjs').Subject>}
 */
export async function startServer(t, { kind, scheme = 'http', oneRequest = false, sticky, startProxy }) {
  const server = createServer()
  t.teardown(async () => {
    server.destroy()
    await server.close()
  })
  const { port } = await server.listen({ port: 0, host: '127.0.0.1', ...(sticky && { sticky }) })
  const settings = { workers: WORKERS, execArgv: [], drainTimeout: 500 }
  const args = [scheme, ...(oneRequest ? ['one-request'] : [])]
  const pool =
    kind === 'threads' ? server.threads(ENTRY, { ...settings, argv: args }) : server.fork(ENTRY, { ...settings, args })
  await pool.ready
  const front = (await startProxy?.(port)) ?? port
  return {
    url: `${scheme}://127.0.0.1:${front}`,
    reload: () => pool.reload(),
    kill: async () => {
      const [victim] = pool.workers
      if (victim === undefined) throw new Error('the pool has no worker')
      await victim.thread?.terminate()
      victim.process?.kill('SIGKILL')
      return victim.id
    },
    explain: () => server.stats().routed,
  }
}
