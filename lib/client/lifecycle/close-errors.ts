// The reasons why a client has no more connections, and its deadline for the leases.

import { SocketServerError } from '../../errors.js'

/** The argument of a client's `drain` event. */
export interface DrainInfo {
  /**
   * `server`: the server drains, and its queued connections still arrive. `retired`: the server has retired this worker, or has
   * ended its channel. `lost`: the server has died.
   */
  reason: 'server' | 'retired' | 'lost'
  /** Milliseconds until open connections are ended, from `drainTimeout`. Undefined without a limit, and for `server`. */
  timeout: number | undefined
}

/** Returns the error of calls after the application has closed the client. */
export function closedError(): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CLOSED', 'The client is closed')
}

/** Returns the error of calls after the server has retired this worker. */
export function retiredError(): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CLOSED', 'The client is closed: the server has retired this worker')
}

/** Returns the error of calls after the server has gone. */
export function lostError(): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CONNECTION_LOST', 'The server has died or has ended the channel')
}
