// Runs in the PARENT. The worker's counterpart is client/client.ts.

import { EventEmitter } from 'node:events'
import { type InspectOptionsStylized, inspect } from 'node:util'
import { addressText, type ListenAddress, type PathAddress, type TcpAddress } from '../address.js'
import { Descriptor } from '../descriptors/descriptor.js'
import { debug, diagnostics } from '../diagnostics.js'
import { callOnClosed, systemError } from '../errors.js'
import { KeepAlive } from '../keep-alive.js'
import { type NativeServer, openServer } from '../native.js'
import { report } from '../report-error.js'
import { summary } from '../summary.js'
import { oneOf } from '../validate.js'
import { forbidForkLoop } from '../worker-identity.js'
import type { AdoptedListener } from '../worker-settings.js'
import { Drain } from './drain.js'
import type { ServerEvents } from './events.js'
import { listenOn, nativeRouting } from './listen/listen.js'
import {
  type ListenOptions,
  type PathListenOptions,
  type PortListenOptions,
  parseListenTarget,
} from './listen/listen-target.js'
import { type NoticeReader, readNotice } from './notices.js'
import { openAdmin } from './observe/admin.js'
import { type AdminOptions, type AgentOptions, parseAdminOptions, parseAgentOptions } from './observe/admin-options.js'
import { AppMetrics } from './observe/app-metrics.js'
import { Facts } from './observe/facts.js'
import { instrument, type Meter } from './observe/instrument.js'
import { type ForkOptions, parseForkOptions } from './pool/fork-options.js'
import type { Pool } from './pool/pool.js'
import { parseRunOptions, type RunOptions } from './pool/run-options.js'
import { type StartRuntime, Supervisor } from './pool/supervisor.js'
import { parseThreadOptions, type ThreadOptions } from './pool/thread-options.js'
import { RepeatedErrors } from './repeated-errors.js'
import {
  type CloseOptions,
  type DrainOptions,
  type MetricsOptions,
  parseDrainOptions,
  parseServerOptions,
  type ServerOptions,
} from './server-options.js'
import { SetupWarnings } from './setup-warnings.js'
import type { Share } from './share/share.js'
import { parseShareOptions, type ShareOptions } from './share/share-options.js'
import { Shares } from './share/shares.js'
import { closeOnSignals } from './signals.js'
import type { DrainResult, ServerStats } from './stats.js'
import { newTicketKeys } from './ticket-keys.js'
import { spawnWorker } from './worker/child-process.js'
import { startThread } from './worker/thread-runtime.js'
import type { ProcessHandle, ThreadHandle, WorkerHandle } from './worker/worker-handle.js'

/**
 * Creates a server, which accepts connections on a separate thread and hands each to a worker that asks for one.
 * Throws a TypeError or RangeError for an invalid option.
 */
export function createServer(options: ServerOptions = {}): Server {
  return new Server(options)
}

/** A server: its listeners, the queue of accepted connections, and the workers. Created by {@link createServer}. */
export class Server extends EventEmitter<ServerEvents> {
  readonly #native: NativeServer
  readonly #drain: Drain
  readonly #facts: Facts
  readonly #appMetrics: AppMetrics
  readonly #killTimeout: number
  readonly #closeTimeout: number
  readonly #keepAlive = new KeepAlive()
  readonly #addresses: ListenAddress[] = []
  readonly #adopted: AdoptedListener[] = []
  /** The number of apps that this server has run. */
  #apps = 0
  #hasWorkers = false
  readonly #setupWarnings = new SetupWarnings({
    hasListener: () => this.#addresses.length > 0,
    hasWorkers: () => this.#hasWorkers,
    isReady: () => isReady(this.stats().states),
    queued: () => this.#native.stats().queued,
  })
  readonly #supervisor: Supervisor
  readonly #shares: Shares
  #state: 'open' | 'draining' | 'closing' | 'destroyed' | 'closed' = 'open'
  #closing: Promise<void> | undefined

  /** @internal */
  constructor(options: ServerOptions) {
    super()
    const { killTimeout, closeTimeout, signals, drainDelay, ...settings } = parseServerOptions(options)
    this.#killTimeout = killTimeout
    this.#closeTimeout = closeTimeout
    const now = new Date()
    const about = { runtime: process.version, startedAt: now.toISOString(), startedAtMs: now.getTime() }
    const ticketKeys = newTicketKeys()
    this.#native = openServer({ ...settings, ...about, steps: debug.enabled, ticketKeys }, () => this.#readNotices())
    this.#facts = new Facts(this.#native)
    const name = `${performance.now()}-${nextServer++}`
    this.#appMetrics = new AppMetrics(this.#native, name, (error) => report(this, error))
    this.#drain = new Drain(this.#native)
    this.#supervisor = new Supervisor({
      events: this,
      native: this.#native,
      facts: this.#facts,
      appMetrics: this.#appMetrics,
      name,
      addresses: () => this.addresses(),
      adopted: () => [...this.#adopted],
      ignoreSignals: signals,
    })
    this.#shares = new Shares(this, this.#native, this.#supervisor)
    if (signals) {
      const announceDrain = (): void => this.#native.announceDrain()
      closeOnSignals(this, { exitTimeout: killTimeout, drainDelay, announceDrain })
    }
  }

  /**
   * Listens on a TCP port. Resolves to the address; a server can have several listeners. `port` is 0 to 65535, and 0 lets the
   * system choose. Default `host`: `::` including IPv4, or `0.0.0.0` without IPv6. Rejects as `net` does, with the system's
   * code (EADDRINUSE, EACCES, ENOTFOUND ...), and with ERR_SOCKETSERVER_CLOSED once the server drains.
   */
  listen(port: number, host?: string): Promise<TcpAddress>
  /** Listens on a TCP port with options, such as a backlog. Resolves and rejects like `listen(port)`. */
  listen(options: PortListenOptions): Promise<TcpAddress>
  /** Listens on a Unix socket with options, such as the permissions. Resolves and rejects like `listen(port)`. */
  listen(options: PathListenOptions): Promise<PathAddress>
  /**
   * Listens on a path, or on a port given as a string of digits, or adopts a descriptor that listens already. Resolves and
   * rejects like `listen(port)`.
   */
  listen(pathOrOptions: string | ListenOptions, host?: string): Promise<ListenAddress>
  async listen(first: number | string | ListenOptions, host?: string, ...rest: unknown[]): Promise<ListenAddress> {
    const target = parseListenTarget(first, host, rest)
    const address = await listenOn(() => this.#open('listen()'), target, this.#supervisor.sessionKey)
    this.#addresses.push(address)
    if (target.kind === 'fd' && target.descriptor === undefined) this.#adopted.push({ fd: target.fd, address })
    this.#setupWarnings.update()
    this.#keepAlive.hold()
    target.signal?.addEventListener('abort', () => void this.close(), { once: true })
    this.emit('listening', address)
    return address
  }

  /** Returns the addresses of the listeners, in the order of the `listen()` calls. */
  addresses(): ListenAddress[] {
    return [...this.#addresses]
  }

  /**
   * Returns copies of the listening sockets, in the order of the `listen()` calls. Send them to another process, which listens on
   * them with `listen({ fd })`; a connection in the kernel's backlog goes to the process that accepts it first. From now on this
   * server does not remove the files of its Unix sockets. Throws EMFILE, and ERR_SOCKETSERVER_CLOSED once the server drains.
   */
  descriptors(): Descriptor[] {
    const { descriptors = [], error } = this.#open('descriptors()').listeningSockets()
    if (error !== undefined) throw systemError(error, error.syscall)
    return descriptors.map((native) => Descriptor.of(native))
  }

  /**
   * Starts child processes that run `entry`, which calls `connect()`. `entry` is resolved like the argument of `node`. Throws
   * ERR_SOCKETSERVER_ENTRY_NOT_FOUND, ERR_SOCKETSERVER_FORK_LOOP, ERR_SOCKETSERVER_CLOSED, and the errors of
   * `child_process.fork()`.
   */
  fork(entry: string | URL, options?: ForkOptions): Pool<ProcessHandle>
  fork(entry: string | URL, options: ForkOptions = {}): Pool<WorkerHandle> {
    const { plan, workers, settings, signal } = parseForkOptions(entry, options, this.#killTimeout)
    const native = this.#open('fork()')
    forbidForkLoop(plan.entry, 'fork()')
    const pool = this.#supervisor.startPool(plan.entry, workers, settings, (worker, onError, failedToStart) =>
      spawnWorker(native, plan, worker, onError, failedToStart),
    )
    this.#addWorkers()
    if (signal !== undefined) pool.closeOn(signal)
    return pool
  }

  /**
   * Starts worker threads of this process that run `entry`, which calls `connect()`. Throws ERR_SOCKETSERVER_ENTRY_NOT_FOUND,
   * ERR_SOCKETSERVER_FORK_LOOP, ERR_SOCKETSERVER_CLOSED, and the errors of `Worker` of `worker_threads`.
   */
  threads(entry: string | URL, options?: ThreadOptions): Pool<ThreadHandle>
  threads(entry: string | URL, options: ThreadOptions = {}): Pool<WorkerHandle> {
    const { plan, workers, settings } = parseThreadOptions(entry, options, this.#killTimeout)
    const native = this.#open('threads()')
    forbidForkLoop(plan.entry, 'threads()')
    const pool = this.#supervisor.startPool(plan.entry, workers, settings, (worker) =>
      startThread(native, plan, { ...worker, isThread: true }),
    )
    this.#addWorkers()
    return pool
  }

  /**
   * Starts workers that run `entry`, an app that need not know this package. This server listens at each address at which the app
   * listens, and hands the connections to the workers. The options `sticky`, `proxyProtocol` and `maxPerSource` apply to each of these
   * listeners. Throws as `fork()` and, with the option `threads`, as `threads()` does.
   */
  run(entry: string | URL, options?: RunOptions & { threads?: false | undefined }): Pool<ProcessHandle>
  /** Starts threads that run `entry`. */
  run(entry: string | URL, options: RunOptions & { threads: true }): Pool<ThreadHandle>
  /** Starts processes or threads that run `entry`. */
  run(entry: string | URL, options?: RunOptions): Pool<WorkerHandle>
  run(entry: string | URL, options: RunOptions = {}): Pool<WorkerHandle> {
    const { plan, workers, settings, signal, routing } = parseRunOptions(entry, options, this.#killTimeout)
    const native = this.#open('run()')
    forbidForkLoop(plan.entry, 'run()')
    this.#apps += 1
    const app = this.#apps
    if (routing !== undefined) native.routeApp(app, nativeRouting(routing, this.#supervisor.sessionKey))
    const start: StartRuntime = (worker, tell, isSuspect) =>
      plan.kind === 'threads'
        ? startThread(native, { ...plan, app }, { ...worker, isThread: true })
        : spawnWorker(native, { ...plan, app }, worker, tell, isSuspect)
    const pool = this.#supervisor.startPool(plan.entry, workers, settings, start, () => native.closeApp(app))
    this.#addWorkers()
    if (signal !== undefined) pool.closeOn(signal)
    return pool
  }

  /**
   * Lets programs in any language join as workers: they connect to a Unix socket and speak the protocol, a Node process by
   * `connect(path)`. `path` is a file, which appears with its `mode` and is removed at the end, or, on Linux, an abstract name,
   * which begins with a null byte. Only processes of this user may join, unless `allow` names others. Rejects as `net` does
   * (EADDRINUSE if a program listens at the path, or the file is not a socket), and with ERR_SOCKETSERVER_CLOSED once the server
   * drains.
   */
  async share(path: string, options: ShareOptions = {}): Promise<Share> {
    const settings = parseShareOptions(path, options)
    this.#open('share()')
    const share = this.#shares.open(settings)
    this.#addWorkers()
    this.#keepAlive.hold()
    return share
  }

  /** Returns a snapshot of the counters. */
  stats(): ServerStats {
    const { states, ...counts } = this.#supervisor.stats()
    this.#shares.count(states)
    return { ...this.#native.stats(), states, ...counts }
  }

  /**
   * Returns the metrics of this server in Prometheus' text format 0.0.4, or as OpenMetrics 1.0. Sends nothing to workers. The
   * metrics of the app in the workers are at `/metrics` of `admin()` only.
   */
  metrics({ format = 'text' }: MetricsOptions = {}): string {
    return this.#native.metrics(oneOf('options.format', format, FORMATS, 'text') === 'openmetrics')
  }

  /**
   * Registers the counters of this server with a meter of OpenTelemetry, which reads them when it exports. Returns a function that
   * removes them.
   */
  instrument(meter: Meter): () => void {
    return instrument(meter, () => this.stats())
  }

  /**
   * Serves a page at `/`, `/status.json`, `/status?auto`, `/metrics` and the probes `/livez`, `/readyz` and `/startupz` by HTTP,
   * until the server has closed. Answers from a separate thread, also while the event loop of this process is blocked. Resolves to
   * the address. Every program that can connect can read all of it: the default `host` is 127.0.0.1. Does not keep the process alive. Rejects like
   * `listen()`.
   */
  async admin(options: AdminOptions): Promise<ListenAddress> {
    const settings = parseAdminOptions(options)
    return openAdmin(() => this.#open('admin()'), settings, 'http')
  }

  /**
   * Answers HAProxy's `agent-check` until the server has closed: `up ready` with the share of workers that take connections,
   * `drain` once this server drains, and `down` after a second without a ready worker. Resolves and rejects like `admin()`.
   */
  async agent(options: AgentOptions): Promise<ListenAddress> {
    const settings = parseAgentOptions(options)
    return openAdmin(() => this.#open('agent()'), settings, 'agent')
  }

  /**
   * Stops accepting, except for connections in the kernel's backlog, and waits until the queue is empty and the last lease has
   * ended. When the time is up, the promise resolves, not `complete`, and no connection is cut.
   */
  drain(options: DrainOptions = {}): Promise<DrainResult> {
    const timeout = parseDrainOptions(options)
    if (this.#state === 'open') this.#state = 'draining'
    this.#facts.event('drain', 'the server drains')
    return this.#drain.wait(timeout)
  }

  /**
   * Drains the server, retires the workers and waits until they have exited, then closes. Connections that the drain has not
   * finished in time are ended and counted in `cut`. A worker that does not exit within `killTimeout` after the drain gets
   * SIGTERM, and SIGKILL after the same time again. Every call returns the same promise.
   */
  close(options: CloseOptions = {}): Promise<void> {
    const timeout = parseDrainOptions(options, this.#closeTimeout)
    this.#closing ??= this.#close(timeout)
    return this.#closing
  }

  /** Closes the listeners, the queue and the channels, and kills the workers, now. Their connections are reset. */
  destroy(): void {
    if (this.#state === 'destroyed' || this.#state === 'closed') return
    this.#state = 'destroyed'
    this.#native.destroy()
    this.#drain.settle()
    this.#keepAlive.release()
    this.#supervisor.kill()
    this.#readNotices()
    this.#shares.kill()
    void this.close()
  }

  /** Closes the server at the end of an `await using` block. The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** @internal */
  [inspect.custom](depth: number, options: InspectOptionsStylized): string {
    const { accepted, handedOff, queued, leases, states } = this.stats()
    const addresses = this.#addresses.map(addressText)
    const fields = { state: this.#state, addresses, workers: states, accepted, handedOff, queued, leases }
    return summary('Server', fields, depth, options)
  }

  /** Makes the server and its workers keep the process alive, which is the default. */
  ref(): this {
    this.#keepAlive.ref()
    this.#supervisor.reference(true)
    return this
  }

  /** Lets the process exit while the server listens or has workers. */
  unref(): this {
    this.#keepAlive.unref()
    this.#supervisor.reference(false)
    return this
  }

  async #close(timeout: number): Promise<void> {
    this.#setupWarnings.stop()
    if (this.#state !== 'destroyed') {
      this.#state = 'closing'
      await this.#drain.wait(timeout)
    }
    // The workers have finished, or their time is up. Until they have exited, the process must live.
    if (this.#state !== 'destroyed') this.#keepAlive.hold()
    // Leases that remain after an incomplete drain end now.
    const timeToLeave = ({ leases }: WorkerHandle): number => (leases > 0 ? IMMEDIATELY : this.#killTimeout)
    await Promise.all([this.#supervisor.stop(timeToLeave), this.#shares.stop(timeToLeave)])
    this.#native.destroy()
    this.#readNotices()
    this.#shares.kill()
    this.#native.closeAdmin()
    this.#appMetrics.close()
    this.#keepAlive.release()
    this.#state = 'closed'
    this.emit('close')
  }

  #addWorkers(): void {
    this.#hasWorkers = true
    this.#setupWarnings.update()
  }

  /** Returns the native server. Throws ERR_SOCKETSERVER_CLOSED once this server drains or is closed. */
  #open(call: string): NativeServer {
    if (this.#state === 'open') return this.#native
    throw callOnClosed(call, `the server is ${this.#state}`)
  }

  #readNotices(): void {
    for (const notice of this.#native.notices()) readNotice(notice, this.#noticeReader)
  }

  readonly #repeatedErrors = new RepeatedErrors((error) => report(this, error))

  readonly #noticeReader: NoticeReader = {
    worker: (channel) => this.#supervisor.worker(channel) ?? this.#shares.worker(channel),
    admitted: (notice) => this.#shares.admitted(notice),
    refused: (notice) => this.#shares.refused(notice),
    joined: (channel) => {
      this.#supervisor.joined(channel)
      this.#shares.joined(channel)
    },
    cut: (worker, info) => this.#supervisor.cut(worker, info),
    shed: (info) => {
      debug('connection %d from %s is shed: %s', info.id, info.remoteAddress ?? 'a Unix socket', info.reason)
      if (diagnostics.connectionShed.hasSubscribers) diagnostics.connectionShed.publish(info)
      this.#facts.shed(info)
      this.emit('shed', info)
    },
    failed: (error) => {
      this.#facts.failed(error)
      report(this, error)
    },
    broken: () => this.destroy(),
    failedAgain: (kind, createError) => this.#repeatedErrors.add(kind, createError),
    listening: (address) => {
      this.#addresses.push(address)
      this.#setupWarnings.update()
      this.emit('listening', address)
    },
    listeningEnded: (address) => {
      const text = addressText(address)
      const index = this.#addresses.findIndex((known) => addressText(known) === text)
      if (index >= 0) this.#addresses.splice(index, 1)
    },
    metricsAsked: (id, isOpenMetrics) => void this.#appMetrics.answer(id, isOpenMetrics),
    drained: () => {
      this.#drain.settle()
      this.#keepAlive.release()
    },
  }
}

function isReady({ ready, starting }: ServerStats['states']): boolean {
  return ready > 0 && starting === 0
}

let nextServer = 1

const FORMATS = ['text', 'openmetrics'] as const

/** Milliseconds; 0 would mean no limit. */
const IMMEDIATELY = 1
