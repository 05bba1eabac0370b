// A primary of node:cluster as people write it: restarts workers, and reloads them one by one when it is told to.
//
//     PORT=3000 node cluster-primary.cjs app.cjs 2

const cluster = require('node:cluster')
const { once } = require('node:events')

const [exec, workers] = process.argv.slice(2)

/** Milliseconds; the default of PM2's kill_timeout. */
const KILL_TIMEOUT = 1600

cluster.setupPrimary({ exec })

cluster.on('exit', (worker) => {
  // A worker that is replaced, or that has never listened, is not restarted.
  if (!worker.exitedAfterDisconnect && hasListened.has(worker.id)) cluster.fork()
})
const hasListened = new Set()
cluster.on('listening', (worker) => hasListened.add(worker.id))

/** Replaces each worker: starts its successor, waits until it listens, and disconnects the worker. */
async function reload() {
  for (const old of Object.values(cluster.workers ?? {})) {
    if (old === undefined) continue
    const next = cluster.fork()
    const isListening = await Promise.race([
      once(next, 'listening').then(() => true),
      once(next, 'exit').then(() => false),
    ])
    if (!isListening) throw new Error(`worker ${next.id} exited before it listened`)
    old.disconnect()
    // A client that keeps its connection busy would keep the worker without a limit.
    const timer = setTimeout(() => old.process.kill('SIGKILL'), KILL_TIMEOUT)
    await once(old, 'exit')
    clearTimeout(timer)
  }
}

for (let index = 0; index < Number(workers); index++) cluster.fork()

process.on('message', async () => {
  try {
    await reload()
    process.send?.({ code: 0, output: '' })
  } catch (error) {
    process.send?.({ code: 1, output: String(error) })
  }
})
process.on('disconnect', () => process.exit())
