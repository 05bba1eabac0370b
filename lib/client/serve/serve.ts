import { Server as NetServer } from 'node:net'
import { invalidType, serverAlreadyListens } from '../../errors.js'
import { HandleServer } from './handle-server.js'
import { isAboutToListen } from './pending-listens.js'
import type { ServedServer, ServeHooks } from './served-server.js'

/** Makes a server serve the connections of a client, once the server is opened. The server's own code handles each connection. */
export function serveOn(server: NetServer, hooks: ServeHooks): ServedServer {
  if (!(server instanceof NetServer)) throw invalidType('server', 'an instance of net.Server', server)
  if (server.listening || isAboutToListen(server)) throw serverAlreadyListens()
  return new HandleServer(server, hooks)
}
