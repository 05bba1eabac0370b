// Why a client has no more connections to give, and by when it is to be done with those it has.

import { SocketServerError } from '../../errors.js'

/** What goes with a client's `drain` event. */
export interface DrainInfo {
  /**
   * `server`: the server drains, and connections that wait there still come. `retired`: the server has told this worker to
   * leave, or does not listen to it any more. `lost`: the server has died.
   */
  reason: 'server' | 'retired' | 'lost'
  /**
   * Milliseconds from now after which what is still open is ended, as `drainTimeout` has it; undefined if that is not
   * limited, or for the server alone to say.
   */
  timeout: number | undefined
}

export function closedError(): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CLOSED', 'The client is closed')
}

export function retiredError(): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CLOSED', 'The client is closed: the server has retired this worker')
}

export function lostError(): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CONNECTION_LOST', 'The server has died or has ended the channel')
}
