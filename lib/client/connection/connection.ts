import type { Socket } from 'node:net'
import { type ProxyInfo, proxyInfo } from './proxy-info.js'
import type { ReceivedConnection } from './received-connection.js'

/** A connection without its socket. The addresses are those at accept, so they remain valid after the client has gone. */
export interface ConnectionInfo {
  /** The connection's id, unique within its server and the same in events of the parent. */
  id: number
  /** The client's IP address. Undefined on a Unix socket, like both ports. */
  remoteAddress: string | undefined
  /** The client's port. */
  remotePort: number | undefined
  /** The listener's port. */
  localPort: number | undefined
  /** Milliseconds that the connection waited for a worker. */
  waited: number
  /** What a trusted proxy told about the client, besides the address; undefined without `proxyProtocol`. */
  proxy: ProxyInfo | undefined
  /** The proxy; undefined without one. */
  via: ViaInfo | undefined
}

/** The proxy through which a client has connected. Both are undefined if the proxy has connected to a Unix socket. */
export interface ViaInfo {
  /** The proxy's IP address. */
  remoteAddress: string | undefined
  /** The proxy's port. */
  remotePort: number | undefined
}

/** A connection that this worker holds, as `accept()` and the event `connection` return it. */
export interface Connection extends ConnectionInfo {
  /** The connection's socket. Closing it ends the lease. */
  socket: Socket
  /**
   * Hands the connection back to the server, for another worker. The connection returns to its position in the queue, and its
   * client notices nothing. This worker gets it again only if no other worker takes it. The socket is detached and closed at once,
   * without ending the connection.
   *
   * The connection must be unread and unwritten. A socket starts to read in the next turn of the event loop. A call in the turn
   * in which the connection arrived therefore always succeeds; a later call succeeds only while the client is silent.
   *
   * Resolves when the server has the connection. Rejects, and leaves the connection as it is, with
   * ERR_SOCKETSERVER_CONNECTION_USED if it has been used; with ERR_SOCKETSERVER_CLOSED or ERR_SOCKETSERVER_CONNECTION_LOST if
   * there is no server; with ERR_SOCKETSERVER_PROTOCOL if the server's protocol is too old; and with the system's code if this
   * process is out of descriptors. If the server dies meanwhile, the connection is closed and the promise also rejects with
   * ERR_SOCKETSERVER_CONNECTION_LOST; then `socket.destroyed` is true.
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
  #proxy: ProxyInfo | undefined
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

  get proxy(): ProxyInfo | undefined {
    const { proxied } = this.#received
    if (proxied !== undefined) this.#proxy ??= proxyInfo(proxied)
    return this.#proxy
  }

  get via(): ViaInfo | undefined {
    return viaOf(this.#received)
  }

  handBack(): Promise<void> {
    return this.#handBack(this.socket, this.#received)
  }
}

type HandBack = (socket: Socket, received: ReceivedConnection) => Promise<void>

/** Returns the public fields of a received connection. */
export function connectionInfo(received: ReceivedConnection): ConnectionInfo {
  const { id, address, port, localPort, waited } = received
  const { proxied } = received
  const proxy = proxied && proxyInfo(proxied)
  return { id, remoteAddress: address, remotePort: port, localPort, waited, proxy, via: viaOf(received) }
}

function viaOf({ proxied }: ReceivedConnection): ViaInfo | undefined {
  return proxied && { remoteAddress: proxied.via?.address, remotePort: proxied.via?.port }
}
