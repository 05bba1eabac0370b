import type { Socket } from 'node:net'
import type { JoinedInfo, LostInfo } from './channel/server-link.js'
import type { Connection } from './connection/connection.js'
import type { DrainInfo } from './lifecycle/close-errors.js'

/** The events of a client, with their arguments. */
export interface ClientEvents {
  /** A connection has come; while there is a listener, and `concurrency` allows, they come unasked. */
  connection: [socket: Socket, connection: Connection]
  /** This worker is to end what idles: the server drains, has retired this worker, or has died. Told once. */
  drain: [info: DrainInfo]
  /** Of a client with a path: the server has let this worker in, the first time or again. */
  joined: [info: JoinedInfo]
  /** Of a client with a path: there is no server, or not any more, and it will be tried again. Leases go on. */
  lost: [info: LostInfo]
  /** Something failed that the client lives with. Without a listener it becomes a process warning. */
  error: [error: Error]
  /** No connection will come any more and the last lease is over. */
  close: []
}
