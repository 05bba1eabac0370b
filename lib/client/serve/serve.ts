import { Server as NetServer, type Socket } from 'node:net'
import type { ListenAddress } from '../../address.js'
import { invalidType, serverAlreadyListens } from '../../errors.js'
import type { ReceivedConnection } from '../connection/received-connection.js'
import { HandleServer } from './handle-server.js'
import { isAboutToListen } from './pending-listens.js'

/** A server of net, http, https, tls or http2 that gets its connections from a client. */
export interface ServedServer {
  /** How many connections it would take now: Infinity while it listens, else 0. */
  readonly demand: number
  /**
   * Gives it one, and returns its socket. Undefined if the server dropped it (`maxConnections`), which has closed it, or if the
   * socket is not known. Throws if no socket could be made of it.
   */
  receive(connection: ReceivedConnection): Socket | undefined
  /** The connection of a socket that `receive` returned is closed. */
  closed(socket: Socket): void
  /** Has what idles end, and answers be the last on their connection; still takes connections. */
  drain(): void
  /** The next server has been found: what idles from now on may idle. */
  resume(): void
  /** No connection will come any more: drains and, with `close`, closes it as soon as that does not cut a request short. */
  finish(options: { close: boolean }): void
  /** The last connection is over. */
  end(): void
}

/** What a served server needs from the client. */
export interface ServeHooks {
  /** The local port its connections come in on; 0 is any. */
  port: number
  /** Where the parent listens, as far as this worker has been told. */
  listeners: readonly ListenAddress[]
  /** It listens now. */
  ready: () => void
  /** Its `close()` was called. */
  stopped: () => void
  ref: () => void
  unref: () => void
}

/** Has a server serve connections from elsewhere. It runs its own code for each, so that everything is as in Node. */
export function serveOn(server: NetServer, hooks: ServeHooks): ServedServer {
  if (!(server instanceof NetServer)) throw invalidType('server', 'an instance of net.Server', server)
  if (server.listening || isAboutToListen(server)) throw serverAlreadyListens()
  return HandleServer.listen(server, hooks)
}
