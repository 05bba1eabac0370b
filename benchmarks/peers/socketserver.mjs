// This package: one process accepts, and its workers answer.

import { createServer } from '@socketserver/node'
import { BACKLOG } from './listening-server.mjs'
import { onStop, ready } from './ready.mjs'
import { environment, settings } from './settings.mjs'

const { stuck, ...given } = settings()
const { kind = 'fork', workers, policy, maxQueue, admin, routing } = given
const entry = new URL('./socketserver-worker.mjs', import.meta.url)

const server = createServer({ policy, maxQueue })
const { port } = await server.listen({ port: 0, host: '127.0.0.1', backlog: BACKLOG, ...routing })
if (admin !== undefined) await server.admin({ path: admin })
const pools = []
if (stuck !== undefined) pools.push(server[kind](entry, { workers: 1, env: environment({ ...given, stuck }) }))
pools.push(server[kind](entry, { workers: workers - pools.length, env: environment(given) }))
await Promise.all(pools.map((pool) => pool.ready))
ready(port)
onStop(
  async () => {
    await server.close({ timeout: 0 })
    process.exit()
  },
  () => console.log(JSON.stringify(server.stats())),
)
