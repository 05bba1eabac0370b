import type { Socket } from 'node:net'
import { type ConnectionInfo, connectionInfo } from './connection.js'
import { ReceivedConnection } from './received-connection.js'

/**
 * Returns the connection of a socket that a worker received, such as `request.socket` of a served server; undefined for any other
 * socket, and after the socket has closed. Works for a `TLSSocket` too.
 */
export function connectionOf(socket: Socket): ConnectionInfo | undefined {
  let handle: unknown = Reflect.get(socket, '_handle')
  // The handle of a TLS socket has the handle of the connection as its parent.
  while (typeof handle === 'object' && handle !== null) {
    const connection: unknown = Reflect.get(handle, 'connection')
    if (connection instanceof ReceivedConnection) return connectionInfo(connection)
    handle = Reflect.get(handle, '_parent')
  }
  return undefined
}
