import type { Server as HttpServer } from 'node:http'
import type { Http2Session } from 'node:http2'
import { type Server, Socket } from 'node:net'

/**
 * Ends what idles on a served server without cutting what does not. On HTTP/1 an answer says `Connection: close`, and
 * what stays idle is closed only after a grace: closing at once resets a request that is on its way
 * (nodejs/node#60617). One that has not sent a byte yet has longer, as its client may be about to: to Node it is not idle,
 * and would be waited for until `headersTimeout`. On HTTP/2 a session says GOAWAY. Other connections know best themselves
 * when they are over.
 */
export class ServedDrain {
  readonly #server: Server
  readonly #isSecure: boolean
  /** By the socket that `net` made: the one that http reads from, with what the last sweep has seen of it. */
  readonly #sockets = new Map<Socket, Seen>()
  readonly #sessions = new Set<Http2Session>()
  #stage: 'serving' | 'draining' | 'finishing' | 'over' = 'serving'
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

  /** Has connections end when they idle. */
  begin(): void {
    if (this.#stage !== 'serving') return
    this.#stage = 'draining'
    for (const session of this.#sessions) session.close()
    if (!canCloseIdle(this.#server)) return
    for (const { socket } of this.#sockets.values()) lastAnswer(Reflect.get(socket, '_httpMessage'))
    this.#server.prependListener('request', lastRequest)
    // In the check phase, right after the loop has read what has come: a request that is here already is not idle, and
    // only one that is on its way at this very moment is lost.
    this.#sweeper = setInterval(() => setImmediate(() => this.#sweep()), IDLE_GRACE).unref()
  }

  /** Connections may idle again: those that come, and those that have not ended by now. */
  resume(): void {
    if (this.#stage !== 'draining') return
    this.#stage = 'serving'
    clearInterval(this.#sweeper)
    this.#server.off('request', lastRequest)
  }

  /**
   * The same and, with `close`, closes the server: at once, unless that would close idle connections before their grace is over.
   * Without it the server stays open for the application to close.
   */
  finish({ close }: { close: boolean }): void {
    this.#staysOpen = !close
    this.begin()
    if (this.#stage !== 'draining') return
    this.#stage = 'finishing'
    if (!canCloseIdle(this.#server)) this.#close()
  }

  /** Every connection is over, or the server is somebody else's now. */
  end(): void {
    if (this.#stage === 'over') return
    this.#stage = 'over'
    clearInterval(this.#sweeper)
    this.#close()
    this.#server.off('session', this.#trackSession)
    this.#server.off(socketEvent(this.#server), this.#trackSocket)
    this.#server.off('request', lastRequest)
  }

  /** The connection of a socket that `net` made is closed. */
  forget(socket: Socket): void {
    this.#sockets.delete(socket)
  }

  #sweep(): void {
    if (this.#stage === 'over') return
    const canCloseAll = this.#sweepSilent() === 0 || !CLOSES_SILENT
    if (canCloseAll && this.#stage === 'finishing') this.#close()
    if (canCloseAll && canCloseIdle(this.#server)) this.#server.closeIdleConnections()
    for (const seen of this.#sockets.values()) {
      const { socket } = seen
      if (!canCloseAll && seen.bytesRead === socket.bytesRead && isBetweenRequests(socket)) socket.destroy()
      seen.bytesRead = socket.bytesRead
    }
  }

  /** Ends those on which nothing has come for too long, and returns how many are left of that kind. */
  #sweepSilent(): number {
    let silent = 0
    for (const seen of this.#sockets.values()) {
      const { socket } = seen
      if (socket.bytesRead > 0) continue
      seen.silentSweeps += 1
      if (seen.silentSweeps > SILENT_SWEEPS) socket.destroy()
      else silent += 1
    }
    return silent
  }

  #close(): void {
    if (!this.#staysOpen) this.#closeServer()
  }

  readonly #trackSocket = (socket: Socket): void => {
    // What tls keeps the socket below in. Without it, the socket is forgotten by its own event.
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
    if (this.#stage !== 'serving') session.close()
  }
}

function lastRequest(_request: unknown, response: unknown): void {
  lastAnswer(response)
}

/** Has an HTTP/1 answer whose header is not sent yet be the last on its connection; ignores everything else. */
function lastAnswer(message: unknown): void {
  if (typeof message !== 'object' || message === null) return
  // HTTP/2's compatibility response has no such property; there is nothing to say on one stream.
  if ('shouldKeepAlive' in message && 'headersSent' in message && !message.headersSent) message.shouldKeepAlive = false
}

/** Whether a server speaks HTTP/1 and so has connections that idle between requests. */
export function canCloseIdle(server: Server): server is Server & Pick<HttpServer, 'closeIdleConnections'> {
  return 'closeIdleConnections' in server && typeof server.closeIdleConnections === 'function'
}

/**
 * The event with the socket that http reads from, on which it notes the answer under way. A server of tls is known by its
 * method: its class, and those of http, are 8 MB and 15 ms for each worker, which may have no use for them (measured).
 */
function socketEvent(server: Server): string {
  return 'setSecureContext' in server ? 'secureConnection' : 'connection'
}

/** Whether an HTTP/1 connection has been read from and is neither in a request nor in an answer, as far as http notes it. */
function isBetweenRequests(socket: Socket): boolean {
  const parser: unknown = Reflect.get(socket, 'parser')
  // Once upgraded it has none.
  if (typeof parser !== 'object' || parser === null || socket.bytesRead === 0) return false
  return !Reflect.get(parser, 'incoming') && !Reflect.get(socket, '_httpMessage')
}

interface Seen {
  /** The socket that http reads from. */
  socket: Socket
  /** Sweeps that have found it without a byte read. */
  silentSweeps: number
  bytesRead: number
}

/**
 * Whether `closeIdleConnections()`, and with it `close()`, takes a connection on which nothing has come yet for idle. Node 20,
 * 22 and 24 do not, 26 does (seen on 26.10), which would reset a client that has just connected.
 */
const CLOSES_SILENT = Number.parseInt(process.versions.node, 10) > 24

/** Milliseconds in which a request that was on its way when the drain began is still answered. */
const IDLE_GRACE = 1000

/** So many times that grace, 5 seconds, for a connection on which nothing has come yet: as long as Node keeps an idle one. */
const SILENT_SWEEPS = 5
