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

/** One connection, as `accept()` and the event `connection` give it. */
export interface Connection extends ConnectionInfo {
  socket: Socket
  /**
   * Hands it back to the server, for another worker: it waits in its old place in the queue, its client notices nothing, and
   * this worker gets it again only if no other takes it. Its socket is detached at once: it closes, and nothing is ended.
   *
   * Nothing of the connection may have been read or written. A socket begins to read in the next turn of the event loop, so
   * a call in the same turn in which the connection came always works, and a later one only while its client is silent.
   *
   * Resolves when the server has it. Rejects, and leaves the connection as it is, with ERR_SOCKETSERVER_CONNECTION_USED;
   * with ERR_SOCKETSERVER_CLOSED or ERR_SOCKETSERVER_CONNECTION_LOST if there is no server to hand it to; with
   * ERR_SOCKETSERVER_PROTOCOL if the server is too old; with the system's code if this process is out of descriptors. If
   * the server dies while it is on its way it is closed, as all that waits there, and this rejects with
   * ERR_SOCKETSERVER_CONNECTION_LOST too; `socket.destroyed` tells the two apart.
   */
  handBack(): Promise<void>
}

/** A connection that a client holds. */
export class HeldConnection implements Connection {
  readonly socket: Socket
  readonly id: number
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined
  readonly localPort: number | undefined
  readonly waited: number
  readonly #received: ReceivedConnection
  readonly #handBack: HandBack

  constructor(socket: Socket, received: ReceivedConnection, handBack: HandBack) {
    this.socket = socket
    this.id = received.id
    this.remoteAddress = received.address
    this.remotePort = received.port
    this.localPort = received.localPort
    this.waited = received.waited
    this.#received = received
    this.#handBack = handBack
  }

  handBack(): Promise<void> {
    return this.#handBack(this.socket, this.#received)
  }
}

type HandBack = (socket: Socket, received: ReceivedConnection) => Promise<void>

export function connectionInfo(received: ReceivedConnection): ConnectionInfo {
  const { id, address, port, localPort, waited } = received
  return { id, remoteAddress: address, remotePort: port, localPort, waited }
}
