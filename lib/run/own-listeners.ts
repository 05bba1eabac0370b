import { subscribe } from 'node:diagnostics_channel'
import { Server } from 'node:net'

/**
 * Calls `listens` when a server listens for which Node does not ask `cluster`, because it is to be the worker's own: `exclusive`,
 * `reusePort`, or a descriptor. `isShared` tells the others.
 */
export function watchOwnListeners(isShared: (server: Server) => boolean, listens: () => void): void {
  subscribe('tracing:net.server.listen:asyncEnd', (message) => {
    const server: unknown = Reflect.get(Object(message), 'server')
    if (!(server instanceof Server) || isShared(server)) return
    // A probe for a free port closes its server when it listens.
    setImmediate(() => {
      if (server.listening) listens()
    })
  })
}
