import type { Server as HttpServer } from 'node:http'
import type { Http2Session } from 'node:http2'
import { type Server, Socket } from 'node:net'

/**
 * Ends the idle connections of a served server without cutting the others.
 *
 * - HTTP/1 responses carry `Connection: close`. An idle connection is closed only after a grace time, because closing it at once
 *   resets a request that is on its way (nodejs/node#60617). A connection that has not sent a byte has more time; Node does not
 *   consider it idle and would wait until `headersTimeout`.
 * - HTTP/2 sessions send GOAWAY.
 * - The application ends other connections.
 */
export class ServedDrain {
  readonly #server: Server
  readonly #isSecure: boolean
  /** The HTTP/1 connections, by the socket that `net` created. */
  readonly #sockets = new Map<Socket, TrackedSocket>()
  readonly #sessions = new Set<Http2Session>()
  #state: 'serving' | 'announced' | 'draining' | 'finishing' | 'ended' = 'serving'
  readonly #closeServer: () => void
  #staysOpen = false
  #sweeper: NodeJS.Timeout | undefined

  /** `close` closes the server if it still listens for these connections. */
  constructor(server: Server, close: () => void) {
    this.#closeServer = close
    this.#server = server
    this.#isSecure = socketEvent(server) === 'secureConnection'
    server.on('session', this.#trackSession)
    if (canCloseIdle(server)) server.on(socketEvent(server), this.#trackSocket)
  }

  /** Announces a drain: HTTP/1 responses are the last on their connections. Idle connections and HTTP/2 sessions stay open. */
  announce(): void {
    if (this.#state !== 'serving') return
    this.#state = 'announced'
    this.#closeAfterResponses()
  }

  /** Begins the drain: connections end when they idle. */
  begin(): void {
    if (this.#state === 'serving') this.#closeAfterResponses()
    else if (this.#state !== 'announced') return
    this.#state = 'draining'
    for (const session of this.#sessions) session.close()
    if (!canCloseIdle(this.#server)) return
    // In the check phase, right after the event loop has read: a request that has arrived makes its connection busy, and only
    // one that arrives at this moment is lost.
    this.#sweeper = setInterval(() => setImmediate(() => this.#sweep()), IDLE_GRACE).unref()
  }

  /** Ends the drain: remaining and new connections may idle. */
  resume(): void {
    if (this.#state !== 'draining' && this.#state !== 'announced') return
    this.#state = 'serving'
    clearInterval(this.#sweeper)
    this.#server.off('request', closeAfterRequest)
  }

  /**
   * Drains and, with `close`, closes the server: at once, unless this would close idle connections before their grace time is up.
   * Without `close` the application closes the server.
   */
  finish({ close }: { close: boolean }): void {
    this.#staysOpen = !close
    this.begin()
    if (this.#state !== 'draining') return
    this.#state = 'finishing'
    if (!canCloseIdle(this.#server)) this.#close()
  }

  /** Ends the drain for good: every connection has closed, or another client serves the server. */
  end(): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    clearInterval(this.#sweeper)
    this.#close()
    this.#server.off('session', this.#trackSession)
    this.#server.off(socketEvent(this.#server), this.#trackSocket)
    this.#server.off('request', closeAfterRequest)
  }

  /** Removes a socket that `net` created and whose connection is closed. */
  forget(socket: Socket): void {
    this.#sockets.delete(socket)
  }

  #closeAfterResponses(): void {
    if (!canCloseIdle(this.#server)) return
    for (const { socket } of this.#sockets.values()) closeAfterResponse(Reflect.get(socket, '_httpMessage'))
    this.#server.prependListener('request', closeAfterRequest)
  }

  #sweep(): void {
    if (this.#state === 'ended') return
    const canCloseAll = this.#sweepSilent() === 0 || !CLOSES_SILENT
    if (canCloseAll && this.#state === 'finishing') this.#close()
    if (canCloseAll && canCloseIdle(this.#server)) this.#server.closeIdleConnections()
    for (const tracked of this.#sockets.values()) {
      const { socket } = tracked
      if (!canCloseAll && tracked.bytesRead === socket.bytesRead && isBetweenRequests(socket)) socket.destroy()
      tracked.bytesRead = socket.bytesRead
    }
  }

  /** Destroys the sockets that have been silent for too long, and returns the number of the other silent ones. */
  #sweepSilent(): number {
    let silent = 0
    for (const tracked of this.#sockets.values()) {
      const { socket } = tracked
      if (socket.bytesRead > 0) continue
      tracked.silentSweeps += 1
      if (tracked.silentSweeps > SILENT_SWEEPS) socket.destroy()
      else silent += 1
    }
    return silent
  }

  #close(): void {
    if (!this.#staysOpen) this.#closeServer()
  }

  readonly #trackSocket = (socket: Socket): void => {
    // A TLS socket keeps the underlying socket here. Without it, the TLS socket's own `close` event removes the entry.
    const below: unknown = this.#isSecure ? Reflect.get(socket, '_parent') : socket
    if (below instanceof Socket) {
      this.#sockets.set(below, { socket, silentSweeps: 0, bytesRead: 0 })
      return
    }
    this.#sockets.set(socket, { socket, silentSweeps: 0, bytesRead: 0 })
    socket.once('close', () => this.#sockets.delete(socket))
  }

  readonly #trackSession = (session: Http2Session): void => {
    this.#sessions.add(session)
    session.once('close', () => this.#sessions.delete(session))
    if (this.#state !== 'serving' && this.#state !== 'announced') session.close()
  }
}

function closeAfterRequest(_request: unknown, response: unknown): void {
  closeAfterResponse(response)
}

/** Makes an HTTP/1 response whose header is not sent yet the last on its connection. Ignores anything else. */
function closeAfterResponse(message: unknown): void {
  if (typeof message !== 'object' || message === null) return
  // Responses of HTTP/2's compatibility API lack these properties: GOAWAY ends their session.
  if ('shouldKeepAlive' in message && 'headersSent' in message && !message.headersSent) message.shouldKeepAlive = false
}

/** Returns whether a server speaks HTTP/1, whose connections idle between requests. */
export function canCloseIdle(server: Server): server is Server & Pick<HttpServer, 'closeIdleConnections'> {
  return 'closeIdleConnections' in server && typeof server.closeIdleConnections === 'function'
}

/**
 * Returns the event with the socket from which http reads, and in which http stores the current response. Recognizes a TLS server
 * by a method: loading the classes of tls and http would cost each worker 8 MB and 15 ms (measured).
 */
function socketEvent(server: Server): string {
  return 'setSecureContext' in server ? 'secureConnection' : 'connection'
}

/** Returns whether an HTTP/1 connection has been read from and has no request or response in progress. */
function isBetweenRequests(socket: Socket): boolean {
  const parser: unknown = Reflect.get(socket, 'parser')
  // An upgraded connection has no parser.
  if (typeof parser !== 'object' || parser === null || socket.bytesRead === 0) return false
  return !Reflect.get(parser, 'incoming') && !Reflect.get(socket, '_httpMessage')
}

interface TrackedSocket {
  /** The socket from which http reads. */
  socket: Socket
  /** The sweeps at which no byte had been read yet. */
  silentSweeps: number
  /** `socket.bytesRead` at the last sweep. */
  bytesRead: number
}

/**
 * Whether `closeIdleConnections()`, and so `close()`, closes connections that have not sent a byte, which resets clients that have
 * just connected. Node 20, 22 and 24 do not; 26 does (seen on 26.10).
 */
const CLOSES_SILENT = Number.parseInt(process.versions.node, 10) > 24

/** Milliseconds in which an idle connection is kept, so that a request that is on its way is still answered. */
const IDLE_GRACE = 1000

/** Sweeps before a connection that has not sent a byte is closed: 5 seconds, as long as Node keeps an idle connection. */
const SILENT_SWEEPS = 5
