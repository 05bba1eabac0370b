import type { Socket } from 'node:net'
import type { ListenAddress } from '../../address.js'
import type { ReceivedConnection } from '../connection/received-connection.js'

/** A server of net, http, https, tls or http2 that gets its connections from a client. */
export interface ServedServer {
  /** How many connections the server would take now: Infinity while it listens, else 0. */
  readonly demand: number
  /** Whether the server does not listen yet. */
  readonly isStarting: boolean
  /**
   * Makes the server listen, seemingly at the parent's `address`; later only changes its address. Throws
   * ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME if servers cannot listen on handles.
   */
  open(address: ListenAddress): void
  /**
   * Passes a connection to the server and returns its socket. Returns undefined if the server has dropped and closed the
   * connection (`maxConnections`), or if the socket is unknown. Throws if no socket can be created.
   */
  receive(connection: ReceivedConnection): Socket | undefined
  /** Records that the connection of a socket that `receive` returned is closed. */
  closed(socket: Socket): void
  /** Makes HTTP/1 responses the last on their connections, because the server will drain. */
  announceDrain(): void
  /** Ends idle connections and makes responses the last on their connections. The server still takes connections. */
  drain(): void
  /** Ends the drain: the worker has joined the next server, so connections may idle again. */
  resume(): void
  /** Drains after the last connection and, with `close`, closes the server as soon as this cuts no request. */
  finish(options: { close: boolean }): void
  /** Ends serving: the last connection has closed. */
  end(): void
}

/** The keys and functions of a client that a served server uses. */
export interface ServeHooks {
  /** Returns the TLS ticket keys that the workers share, if any. They are known when the first connection arrives. */
  ticketKeys: () => Buffer | undefined
  /** Called when the server listens. */
  ready: () => void
  /** Called when the server closes. */
  stopped: () => void
  ref: () => void
  unref: () => void
}
