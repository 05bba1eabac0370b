// Node's cluster with SCHED_RR (the primary accepts and sends connections) or SCHED_NONE (the workers share the listener).

import cluster from 'node:cluster'
import { once } from 'node:events'
import { onStop, ready } from './ready.mjs'
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
onStop(async () => {
  cluster.disconnect()
  // The workers write their service times when they exit.
  await Promise.all(exits)
  process.exit()
})
