import type { Server as NetServer } from 'node:net'
import type { Server as TlsServer } from 'node:tls'

/**
 * Sets the ticket keys of a TLS server to the keys that all workers share, so that any worker can resume a session of another
 * worker. Without shared keys, each server creates its own. The option `ticketKeys` of the application takes precedence. `keys` are
 * in base64; empty means none.
 */
export function shareTicketKeys(server: NetServer, keys: string): void {
  if (keys === '' || !isTlsServer(server) || Reflect.get(server, 'ticketKeys') !== undefined) return
  const bytes = Buffer.from(keys, 'base64')
  server.setTicketKeys(bytes)
  // A new certificate creates a new context with new keys.
  const setSecureContext = server.setSecureContext.bind(server)
  server.setSecureContext = (options) => {
    setSecureContext(options)
    if (options.ticketKeys === undefined) server.setTicketKeys(bytes)
  }
}

/** Not by `instanceof`: a worker without TLS need not load `node:tls`. */
function isTlsServer(server: NetServer): server is TlsServer {
  return 'setTicketKeys' in server && 'setSecureContext' in server
}
