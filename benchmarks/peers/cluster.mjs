// Node's cluster: round robin, where the primary accepts and sends, or none, where all workers share the listener.

import cluster from 'node:cluster'
import { once } from 'node:events'
import { atEnd, ready } from './ready.mjs'
import { environment, settings } from './settings.mjs'

const { stuck, ...given } = settings()
cluster.schedulingPolicy = given.scheduling === 'none' ? cluster.SCHED_NONE : cluster.SCHED_RR
cluster.setupPrimary({ exec: new URL('./cluster-worker.mjs', import.meta.url).pathname })

let listening = 0
cluster.on('listening', (_, { port }) => {
  listening += 1
  if (listening === given.workers) ready(port)
})
/** @type {Promise<unknown>[]} */
const exits = []
for (let index = 0; index < given.workers; index++) {
  const worker = cluster.fork(environment(index === 0 && stuck !== undefined ? { ...given, stuck } : given))
  exits.push(once(worker, 'exit'))
}
atEnd(async () => {
  cluster.disconnect()
  // They may have something to write down.
  await Promise.all(exits)
  process.exit()
})
