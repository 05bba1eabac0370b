// node:cluster with @socket.io/sticky.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const ENTRY = fileURLToPath(new URL('../fixtures/cluster-sticky.js', import.meta.url))

/**
 * Starts a primary with four workers. Returns its URL.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {'http' | 'https'} scheme
 */
export async function startCluster(t, scheme) {
  const primary = fork(ENTRY, [scheme], { execArgv: [] })
  const exit = once(primary, 'exit')
  t.teardown(async () => {
    // The primary and its workers exit when their channels close.
    primary.disconnect()
    await exit
  })
  const [{ port }] = await Promise.race([once(primary, 'message'), failedBy(exit)])
  return `${scheme}://127.0.0.1:${port}`
}

/**
 * @param {Promise<unknown[]>} exit
 * @returns {Promise<never>}
 */
async function failedBy(exit) {
  const [code, signal] = await exit
  throw new Error(`the primary has ended: ${code ?? signal}`)
}
