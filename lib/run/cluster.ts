// Makes `node:cluster` behave as in a cluster worker for an app of `server.run()`. For each server of a worker that listens, Node
// reads `isPrimary` and calls `cluster._getServer` for a handle (listenInCluster in lib/net.js, bindServerHandle in lib/dgram.js).

import cluster from 'node:cluster'
import { syncBuiltinESMExports } from 'node:module'
import { clusterWorker } from './cluster-worker.js'
import type { Listeners } from './listeners.js'

/** Makes this process or thread a cluster worker that gets its listeners from the parent. */
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
  // Updates the bindings of `import { isPrimary } from 'node:cluster'`.
  syncBuiltinESMExports()
}

function refuse(): never {
  throw new Error(
    'cluster.fork() in a worker: socketserver runs this app in several workers already, see its option workers',
  )
}
