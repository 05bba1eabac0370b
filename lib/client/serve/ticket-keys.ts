import type { Server as NetServer } from 'node:net'
import type { Server as TlsServer } from 'node:tls'

/**
 * Has a TLS server use the ticket keys that all workers share, so that a session which one worker began goes on in any other. The
 * server has made keys of its own otherwise. The option `ticketKeys` of the application wins. `keys` are in base64; empty is none.
 */
export function shareTicketKeys(server: NetServer, keys: string): void {
  if (keys === '' || !isTlsServer(server) || Reflect.get(server, 'ticketKeys') !== undefined) return
  const bytes = Buffer.from(keys, 'base64')
  server.setTicketKeys(bytes)
  // A new certificate comes with a new context, whose keys are new as well.
  const setSecureContext = server.setSecureContext.bind(server)
  server.setSecureContext = (options) => {
    setSecureContext(options)
    if (options.ticketKeys === undefined) server.setTicketKeys(bytes)
  }
}

/** Not by `instanceof`: a worker without TLS need not load that. */
function isTlsServer(server: NetServer): server is TlsServer {
  return 'setTicketKeys' in server && 'setSecureContext' in server
}
