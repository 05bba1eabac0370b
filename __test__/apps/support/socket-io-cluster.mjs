// node:cluster with @socket.io/sticky, as a subject of the same tests as a server of this package.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const ENTRY = fileURLToPath(new URL('../fixtures/cluster-sticky.js', import.meta.url))

/**
 * Starts a primary with workers. Returns the subject of a test.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {'http' | 'https'} scheme
 * @param {(port: number) => Promise<number>} [startProxy] starts a proxy in front of a port, and returns the proxy's port
 * @returns {Promise<import('./socket-io-sessions.mjs').Subject>}
 */
export async function startCluster(t, scheme, startProxy) {
  const primary = fork(ENTRY, [scheme], { execArgv: [] })
  const exit = once(primary, 'exit')
  t.teardown(async () => {
    // The primary and its workers exit when their channels close.
    primary.disconnect()
    await exit
  })
  const [{ port }] = await Promise.race([once(primary, 'message'), failedBy(exit)])
  const front = (await startProxy?.(port)) ?? port
  return {
    url: `${scheme}://127.0.0.1:${front}`,
    reload: () => ask('reload'),
    kill: async () => (await ask('kill')).killed,
    // A worker tells the primary of a new session while the next request of the session may already be on its way.
    mayLose: true,
  }

  /** @param {'reload' | 'kill'} command */
  async function ask(command) {
    primary.send(command)
    const [answer] = await Promise.race([once(primary, 'message'), failedBy(exit)])
    return answer
  }
}

/**
 * @param {Promise<unknown[]>} exit
 * @returns {Promise<never>}
 */
async function failedBy(exit) {
  const [code, signal] = await exit
  throw new Error(`the primary has ended: ${code ?? signal}`)
}
