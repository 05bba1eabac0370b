import type { Socket } from 'node:net'
import type { ReceivedConnection } from './received-connection.js'

/** What is known of a connection beside its socket. Addresses are those at accept: they hold when the client has gone. */
export interface ConnectionInfo {
  /** The connection's id, unique within its server; the parent's events name it too. */
  id: number
  /** Undefined for a connection to a Unix socket, as are both ports. */
  remoteAddress: string | undefined
  remotePort: number | undefined
  /** The port it came in on. */
  localPort: number | undefined
  /** Milliseconds it waited for a worker. */
  waited: number
}

/** One connection, as `accept()` gives it. */
export interface Connection extends ConnectionInfo {
  socket: Socket
}

export function connectionInfo(received: ReceivedConnection): ConnectionInfo {
  const { id, address, port, localPort, waited } = received
  return { id, remoteAddress: address, remotePort: port, localPort, waited }
}
