import type { Socket } from 'node:net'
import type { SocketServerError } from '../errors.js'
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

/** The argument of a client's `joined` event. */
export interface JoinedInfo {
  /** The shared path. */
  path: string
  /** How often this process has joined at the path before. */
  rejoined: number
}

/** The argument of a client's `lost` event. */
export interface LostInfo {
  /** The shared path. */
  path: string
  /**
   * The reason: the system's code of a failed `connect` (ENOENT, ECONNREFUSED ...); ERR_SOCKETSERVER_CONNECTION_LOST if the server
   * has died or ended the channel; ERR_SOCKETSERVER_CLOSED if it has retired this worker; ERR_SOCKETSERVER_REFUSED if it is full
   * or did not get a HELLO in time; ERR_SOCKETSERVER_PROTOCOL if one side broke the protocol.
   */
  error: SocketServerError
  /** Milliseconds until the next attempt. */
  delay: number
  /** Attempts in a row, including this one, that failed or whose connection lasted less than a second. */
  failures: number
}
