// What an app of `server.run()` sees of `node:cluster`: a worker. Node asks `cluster._getServer` for the handle of every server that
// a worker makes listen (listenInCluster in lib/net.js, bindServerHandle in lib/dgram.js), and looks at `isPrimary` each time.

import cluster from 'node:cluster'
import { syncBuiltinESMExports } from 'node:module'
import { clusterWorker } from './cluster-worker.js'
import type { Listeners } from './listeners.js'

/** Makes this process or thread a worker to `node:cluster`, with its listeners from the parent. */
export function replaceCluster(id: number, listeners: Listeners): void {
  Object.assign(cluster, {
    isPrimary: false,
    isMaster: false,
    isWorker: true,
    worker: clusterWorker(id, listeners.closeAll),
    workers: undefined,
    fork: refuse,
    setupPrimary: refuse,
    setupMaster: refuse,
    _getServer: listeners.getServer,
  })
  // For `import { isPrimary } from 'node:cluster'`.
  syncBuiltinESMExports()
}

function refuse(): never {
  throw new Error(
    'cluster.fork() in a worker: socketserver runs this app in several workers already, see its option workers',
  )
}
