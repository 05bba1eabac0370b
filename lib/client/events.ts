import type { Socket } from 'node:net'
import type { JoinedInfo, LostInfo } from './channel/server-link.js'
import type { Connection } from './connection/connection.js'
import type { DrainInfo } from './lifecycle/close-errors.js'

/** The events of a client, with their arguments. */
export interface ClientEvents {
  /** A connection has arrived. While there is a listener, connections arrive as far as `concurrency` allows. */
  connection: [socket: Socket, connection: Connection]
  /** End idle connections: the server drains, has retired this worker, or has died. Emitted once. */
  drain: [info: DrainInfo]
  /** Only with a path: the server has admitted this worker, for the first time or again. */
  joined: [info: JoinedInfo]
  /** Only with a path: there is no server now, and the client will try again. Leases continue. */
  lost: [info: LostInfo]
  /** A failure that the client survives. Without a listener it becomes a process warning. */
  error: [error: Error]
  /** No more connections will arrive, and the last lease has ended. */
  close: []
}
