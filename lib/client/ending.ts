// Why a client has no more connections to give.

import { SocketServerError } from '../errors.js'

export function closedError(): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CLOSED', 'The client is closed')
}

export function retiredError(): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CLOSED', 'The client is closed: the server has retired this worker')
}

export function lostError(): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CONNECTION_LOST', 'The server has died or has ended the channel')
}
