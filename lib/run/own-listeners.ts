import { subscribe } from 'node:diagnostics_channel'
import { Server } from 'node:net'

/**
 * Calls `listens` when a server listens without a handle from `cluster`, with `exclusive`, `reusePort` or a descriptor. `isShared`
 * returns whether a server has a handle from `cluster`.
 */
export function watchOwnListeners(isShared: (server: Server) => boolean, listens: () => void): void {
  subscribe('tracing:net.server.listen:asyncEnd', (message) => {
    const server: unknown = Reflect.get(Object(message), 'server')
    if (!(server instanceof Server) || isShared(server)) return
    // A probe for a free port closes its server as soon as the server listens.
    setImmediate(() => {
      if (server.listening) listens()
    })
  })
}
