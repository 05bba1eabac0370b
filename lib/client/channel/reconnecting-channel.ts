// Runs in a WORKER that joins a shared path. The parent's counterparts are server/share/ and server/worker/joined-worker.ts.

import { Backoff } from '../../backoff.js'
import { debug } from '../../diagnostics.js'
import { SocketServerError, systemError } from '../../errors.js'
import { dial, type ReceiverPhase, type SystemError } from '../../native.js'
import { report } from '../../report-error.js'
import { DEFAULT_SETTINGS, type WorkerSettings } from '../../worker-settings.js'
import { Client } from '../client.js'
import type { ConnectSettings } from '../client-options.js'
import { tcpConstructor } from '../connection/stream-handle.js'
import { Channel, MAX_LANES, tooManyPorts } from './channel.js'
import type { ServerLink } from './server-link.js'

/** Joins the server that shares `path`, and rejoins when the server has gone. All clients of a path share one channel. */
export function join(path: string, port: number, reconnect: ConnectSettings['reconnect']): Client {
  // A worker that cannot create sockets must not join.
  tcpConstructor()
  let channel = channels.get(path)
  if (channel === undefined) {
    channel = new ReconnectingChannel(path, reconnect)
    channels.set(path, channel)
  }
  return channel.client(port)
}

/**
 * The channel of this process to the server that shares a path:
 *
 *     connecting --HELLO--> joining --WELCOME--> joined
 *        ^                     |                   |
 *        +------ delay --------+-------------------+   retired, lost, full ...
 *
 * until the last client has closed, or the server refuses the worker permanently. A channel that has ended stays with its clients
 * until its leases have ended.
 */
class ReconnectingChannel implements ServerLink {
  readonly settings = SETTINGS
  readonly #path: string
  readonly #backoff: Backoff | undefined
  readonly #clients = new Map<number, Client>()
  /** The channel to the current server; undefined once the server is lost or has retired this worker. */
  #channel: Channel | undefined
  #joinedAt: number | undefined
  #joins = 0
  #timer: NodeJS.Timeout | undefined
  #isOver = false

  constructor(path: string, reconnect: ConnectSettings['reconnect']) {
    this.#path = path
    this.#backoff = reconnect === undefined ? undefined : new Backoff(reconnect, JITTER)
    // Not now: the caller can add listeners only after connect() has returned.
    process.nextTick(() => this.#connect())
  }

  get rejoins(): boolean {
    return true
  }

  /** Returns the client of a port, a new one if there is none. */
  client(port: number): Client {
    const existing = this.#clients.get(port)
    if (existing !== undefined) return existing
    if (this.#clients.size >= MAX_LANES) throw tooManyPorts(port)
    const client = new Client(this, port)
    this.#clients.set(port, client)
    if (this.#channel !== undefined) client.attach(this.#channel)
    return client
  }

  /** Does nothing: a worker that joins is ready once it has connected. */
  ready(): void {}

  left(port: number): void {
    this.#clients.delete(port)
    if (this.#clients.size > 0) return
    this.#isOver = true
    clearTimeout(this.#timer)
    if (channels.get(this.#path) === this) channels.delete(this.#path)
  }

  #connect(): void {
    if (this.#isOver) return
    const dialled = dial(this.#path)
    if ('error' in dialled) this.#connectFailed(dialled.error)
    else this.#open(dialled.fd)
  }

  #open(fd: number): void {
    let channel: Channel
    try {
      channel = new Channel(fd, SETTINGS, { phaseChanged: (phase) => this.#phaseChanged(channel, phase) })
    } catch (error) {
      // The failed attempt has closed the descriptor.
      this.#lost(lostError(this.#path, 'cannot be reached', error))
      return
    }
    this.#channel = channel
    for (const client of this.#clients.values()) client.attach(channel)
  }

  #connectFailed(failure: SystemError): void {
    const error = systemError(failure, failure.syscall, { address: this.#path, port: -1 })
    if (TEMPORARY.includes(failure.code)) this.#lost(error)
    else this.#fail(error)
  }

  #phaseChanged(channel: Channel, phase: ReceiverPhase): void {
    if (channel !== this.#channel) return
    if (phase.phase === 'open' || phase.phase === 'draining-soon' || phase.phase === 'draining') this.#joined()
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
      this.#lost(lostError(this.#path, reason === 'closed' ? 'has ended the channel' : 'has died'))
    }
  }

  /** Schedules the next attempt to connect, or fails without `reconnect`. */
  #lost(error: SocketServerError): void {
    if (this.#isOver) return
    const wasStable = this.#joinedAt !== undefined && performance.now() - this.#joinedAt >= STABLE_TIME
    this.#channel = undefined
    this.#joinedAt = undefined
    if (this.#backoff === undefined) {
      this.#fail(error)
      return
    }
    if (wasStable) this.#backoff.reset()
    const delay = this.#backoff.next(Math.random())
    const info = { path: this.#path, error, delay, failures: this.#backoff.failures }
    debug('no server at %s, next attempt in %d ms: %s', this.#path, delay, error.message)
    clearTimeout(this.#timer)
    // The clients keep the process alive, if they are referenced.
    this.#timer = setTimeout(() => this.#connect(), delay).unref()
    for (const client of [...this.#clients.values()]) client.emit('lost', info)
  }

  /** Ends the clients: there will be no further attempt. */
  #fail(error: SocketServerError): void {
    this.#channel = undefined
    debug('no server at %s, and no further attempt: %s', this.#path, error.message)
    for (const client of [...this.#clients.values()]) client.fail(error)
  }
}

function refusedError(path: string, message: string): SocketServerError {
  const text = `The server at ${path} refused this process: ${message}`
  return new SocketServerError('ERR_SOCKETSERVER_REFUSED', text, { address: path })
}

function retiredError(path: string): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CLOSED', `The server at ${path} has retired this worker`, {
    address: path,
  })
}

/** `violation`: how the server violated the protocol; undefined if the server reports a violation by this side. */
function protocolError(path: string, violation: string | undefined): SocketServerError {
  const reason =
    violation === undefined
      ? 'the server reports a protocol error of this process'
      : `the server broke the protocol: ${violation}`
  const text = `The channel to the server at ${path} has ended: ${reason}`
  return new SocketServerError('ERR_SOCKETSERVER_PROTOCOL', text, { address: path })
}

function lostError(path: string, event: string, cause?: unknown): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CONNECTION_LOST', `The server at ${path} ${event}`, {
    address: path,
    cause,
  })
}

const SETTINGS: WorkerSettings = { ...DEFAULT_SETTINGS, drainTimeout: 0 }

const channels = new Map<string, ReconnectingChannel>()

/** The errors of connect(2) while a server starts, stops or is busy, and while this process is out of descriptors. */
const TEMPORARY = ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EAGAIN', 'EINTR', 'EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']

/** The part of a delay that jitter may take off. The workers of a server lose their channels at the same moment. */
const JITTER = 0.5

/** Milliseconds after which a joined worker counts as stable, so that the next delays start from `minDelay`. */
const STABLE_TIME = 1000
