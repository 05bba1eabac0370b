// Runs in a WORKER that joins a server by itself. The parent's counterparts are server/share.ts and server/joined-worker.ts.

import { debug } from '../../diagnostics.js'
import { SocketServerError, systemError } from '../../errors.js'
import { dial, type ReceiverPhase, type SystemError } from '../../native.js'
import { report } from '../../report-error.js'
import { DEFAULT_SETTINGS, type WorkerSettings } from '../../worker-settings.js'
import { Client } from '../client.js'
import type { ConnectSettings } from '../client-options.js'
import { tcpConstructor } from '../connection/stream-handle.js'
import { Backoff } from './backoff.js'
import { Channel, MAX_LANES, tooManyPorts } from './channel.js'
import type { ServerLink } from './server-link.js'

/** Joins the server that shares `path`, and again when it has gone; one worker for all clients of a path. */
export function join(path: string, port: number, reconnect: ConnectSettings['reconnect']): Client {
  // A worker that could make no socket of a connection must not join.
  tcpConstructor()
  let membership = memberships.get(path)
  if (membership === undefined) {
    membership = new Membership(path, reconnect)
    memberships.set(path, membership)
  }
  return membership.client(port)
}

/**
 * This process as a worker of whichever server shares a path:
 *
 *     trying --connect, hello--> joining --welcome--> joined
 *        ^                          |                   |
 *        +--------- pause ----------+-------------------+   retired, lost, full ...
 *
 * until its last client has closed, or it is refused for good. A channel that is over stays with its clients until the leases
 * it brought are.
 */
class Membership implements ServerLink {
  readonly settings = SETTINGS
  readonly #path: string
  readonly #backoff: Backoff | undefined
  readonly #clients = new Map<number, Client>()
  /** The present one, from its hello to the day its server is lost or has retired this worker. */
  #channel: Channel | undefined
  #joinedAt: number | undefined
  #joins = 0
  #timer: NodeJS.Timeout | undefined
  #isOver = false

  constructor(path: string, reconnect: ConnectSettings['reconnect']) {
    this.#path = path
    this.#backoff = reconnect === undefined ? undefined : new Backoff(reconnect)
    // Not yet: whoever calls connect() can listen only when it has returned.
    process.nextTick(() => this.#try())
  }

  get rejoins(): boolean {
    return true
  }

  client(port: number): Client {
    const existing = this.#clients.get(port)
    if (existing !== undefined) return existing
    if (this.#clients.size >= MAX_LANES) throw tooManyPorts(port)
    const client = new Client(this, port)
    this.#clients.set(port, client)
    if (this.#channel !== undefined) client.attach(this.#channel)
    return client
  }

  /** Connecting has said so. */
  ready(): void {}

  left(client: Client): void {
    for (const [port, known] of this.#clients) if (known === client) this.#clients.delete(port)
    if (this.#clients.size > 0) return
    this.#isOver = true
    clearTimeout(this.#timer)
    if (memberships.get(this.#path) === this) memberships.delete(this.#path)
  }

  #try(): void {
    if (this.#isOver) return
    const dialled = dial(this.#path)
    if ('error' in dialled) this.#notThere(dialled.error)
    else this.#open(dialled.fd)
  }

  #open(fd: number): void {
    let channel: Channel
    try {
      channel = new Channel(fd, SETTINGS, { phaseChanged: (phase) => this.#phaseChanged(channel, phase) })
    } catch (error) {
      // The descriptor has gone with the attempt.
      this.#lost(lostError(this.#path, 'cannot be spoken to', error))
      return
    }
    this.#channel = channel
    for (const client of this.#clients.values()) client.attach(channel)
  }

  #notThere(failure: SystemError): void {
    const error = systemError(failure, failure.syscall, { address: this.#path, port: -1 })
    if (PASSING.includes(failure.code)) this.#lost(error)
    else this.#fail(error)
  }

  #phaseChanged(channel: Channel, phase: ReceiverPhase): void {
    if (channel !== this.#channel) return
    if (phase.phase === 'open' || phase.phase === 'draining') this.#joined()
    else if (phase.phase === 'retired') this.#lost(retiredError(this.#path))
    else if (phase.phase === 'ended') this.#ended(phase)
  }

  #joined(): void {
    if (this.#joinedAt !== undefined) return
    this.#joinedAt = performance.now()
    debug('joined the server at %s', this.#path)
    const info = { path: this.#path, rejoined: this.#joins }
    this.#joins += 1
    for (const client of [...this.#clients.values()]) client.joined(info)
  }

  #ended({ reason, refusal, message = 'no reason was given' }: ReceiverPhase): void {
    if (reason === 'left') return
    if (reason === 'refused') {
      const error = refusedError(this.#path, message)
      if (refusal === 'version' || refusal === 'not-allowed') this.#fail(error)
      else this.#lost(error)
    } else if (reason === 'protocol' || message === 'protocol') {
      const error = protocolError(this.#path, reason === 'protocol' ? message : undefined)
      for (const client of [...this.#clients.values()]) report(client, error)
      this.#lost(error)
    } else {
      this.#lost(lostError(this.#path, reason === 'closed' ? 'has ended the channel' : 'has died or is gone'))
    }
  }

  /** There is no server for now. */
  #lost(error: SocketServerError): void {
    if (this.#isOver) return
    const lasted = this.#joinedAt !== undefined && performance.now() - this.#joinedAt >= LASTING
    this.#channel = undefined
    this.#joinedAt = undefined
    if (this.#backoff === undefined) {
      this.#fail(error)
      return
    }
    if (lasted) this.#backoff.reset()
    const delay = this.#backoff.next(Math.random())
    const info = { path: this.#path, error, delay, failures: this.#backoff.failures }
    debug('no server at %s, next try in %d ms: %s', this.#path, delay, error.message)
    clearTimeout(this.#timer)
    // Whether the process is to wait for it is for the clients to say.
    this.#timer = setTimeout(() => this.#try(), delay).unref()
    for (const client of [...this.#clients.values()]) client.emit('lost', info)
  }

  /** There will be none. */
  #fail(error: SocketServerError): void {
    this.#channel = undefined
    debug('no server at %s for good: %s', this.#path, error.message)
    for (const client of [...this.#clients.values()]) client.fail(error)
  }
}

function refusedError(path: string, message: string): SocketServerError {
  const text = `The server at ${path} does not let this process in: ${message}`
  return new SocketServerError('ERR_SOCKETSERVER_REFUSED', text, { address: path })
}

function retiredError(path: string): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CLOSED', `The server at ${path} has retired this worker`, {
    address: path,
  })
}

/** `theirs`: what the server did against the protocol; undefined if it says that this side has broken it. */
function protocolError(path: string, theirs: string | undefined): SocketServerError {
  const whose =
    theirs === undefined ? 'as this side broke the protocol, it says' : `as it broke the protocol: ${theirs}`
  const text = `The channel to the server at ${path} has ended, ${whose}`
  return new SocketServerError('ERR_SOCKETSERVER_PROTOCOL', text, { address: path })
}

function lostError(path: string, what: string, cause?: unknown): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CONNECTION_LOST', `The server at ${path} ${what}`, {
    address: path,
    cause,
  })
}

const SETTINGS: WorkerSettings = { ...DEFAULT_SETTINGS, drainTimeout: 0 }

const memberships = new Map<string, Membership>()

/** What a server that starts, stops or is busy makes of connect(2), and a process that is short of descriptors for a while. */
const PASSING = ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EAGAIN', 'EINTR', 'EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']

/** Milliseconds for which a server has to have kept this worker for the pauses to begin anew. */
const LASTING = 1000
