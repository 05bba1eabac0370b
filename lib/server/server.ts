// Runs in the PARENT. The worker's counterpart is client/client.ts.

import { EventEmitter } from 'node:events'
import { type InspectOptionsStylized, inspect } from 'node:util'
import { addressText, type ListenAddress, type PathAddress, type TcpAddress } from '../address.js'
import { Descriptor } from '../descriptors/descriptor.js'
import { debug, diagnostics } from '../diagnostics.js'
import { SocketServerError, systemError } from '../errors.js'
import { KeepAlive } from '../keep-alive.js'
import { type NativeServer, openServer } from '../native.js'
import { report } from '../report-error.js'
import { summary } from '../summary.js'
import { forbidForkLoop } from '../worker-identity.js'
import { Drain } from './drain.js'
import type { ServerEvents } from './events.js'
import { listenOn } from './listen/listen.js'
import {
  type ListenOptions,
  type PathListenOptions,
  type PortListenOptions,
  parseListenTarget,
} from './listen/listen-target.js'
import { type NoticeReader, readNotice } from './notices.js'
import { type ForkOptions, parseForkOptions } from './pool/fork-options.js'
import type { Pool } from './pool/pool.js'
import { Supervisor } from './pool/supervisor.js'
import { parseThreadOptions, type ThreadOptions } from './pool/thread-options.js'
import { RepeatedErrors } from './repeated-errors.js'
import {
  type CloseOptions,
  type DrainOptions,
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
import { spawnWorker } from './worker/child-process.js'
import { startThread } from './worker/thread-runtime.js'
import type { ProcessHandle, ThreadHandle, WorkerHandle } from './worker/worker-handle.js'

/**
 * Makes a server: it accepts connections in a thread of its own and hands each to a worker that asks for one.
 * Throws a TypeError or RangeError for a bad option.
 */
export function createServer(options: ServerOptions = {}): Server {
  return new Server(options)
}

/** Listeners, the queue behind them, and the workers that answer. Made by {@link createServer}. */
export class Server extends EventEmitter<ServerEvents> {
  readonly #native: NativeServer
  readonly #drain: Drain
  readonly #killTimeout: number
  readonly #closeTimeout: number
  readonly #keepAlive = new KeepAlive()
  readonly #addresses: ListenAddress[] = []
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
    const { killTimeout, closeTimeout, signals, ...settings } = parseServerOptions(options)
    this.#killTimeout = killTimeout
    this.#closeTimeout = closeTimeout
    this.#native = openServer({ ...settings, steps: debug.enabled }, () => this.#readNotices())
    this.#drain = new Drain(this.#native)
    this.#supervisor = new Supervisor({
      events: this,
      native: this.#native,
      addresses: () => this.addresses(),
      ignoreSignals: signals,
    })
    this.#shares = new Shares(this, this.#native, this.#supervisor)
    if (signals) closeOnSignals(this, killTimeout)
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
    const address = await listenOn(() => this.#open('listen()'), target)
    this.#addresses.push(address)
    this.#setupWarnings.update()
    this.#keepAlive.hold()
    target.signal?.addEventListener('abort', () => void this.close(), { once: true })
    this.emit('listening', address)
    return address
  }

  /** Where it listens, in the order of the calls. */
  addresses(): ListenAddress[] {
    return [...this.#addresses]
  }

  /**
   * Copies of the sockets it listens on, in the order of the calls, to be sent to another process, which goes on listening
   * with `listen({ fd })`: what the kernel's backlog holds is served by whoever accepts it first. The files of Unix sockets
   * are from then on left where they are. Throws EMFILE, and ERR_SOCKETSERVER_CLOSED once the server drains.
   */
  descriptors(): Descriptor[] {
    const { descriptors = [], error } = this.#open('descriptors()').listeningSockets()
    if (error !== undefined) throw systemError(error, error.syscall)
    return descriptors.map((native) => Descriptor.of(native))
  }

  /**
   * Starts child processes that run `entry`, which `connect()`s to this server. `entry` is resolved as `node entry` is.
   * Throws ERR_SOCKETSERVER_ENTRY_NOT_FOUND, ERR_SOCKETSERVER_CLOSED, or what `child_process.fork()` throws.
   */
  fork(entry: string | URL, options?: ForkOptions): Pool<ProcessHandle>
  fork(entry: string | URL, options: ForkOptions = {}): Pool<WorkerHandle> {
    const { plan, workers, settings, signal } = parseForkOptions(entry, options, this.#killTimeout)
    const native = this.#open('fork()')
    forbidForkLoop(plan.entry, 'fork()')
    const pool = this.#supervisor.startPool(plan.entry, workers, settings, (worker, tell, isSuspect) =>
      spawnWorker(native, plan, worker, tell, isSuspect),
    )
    this.#addWorkers()
    if (signal !== undefined) pool.closeOn(signal)
    return pool
  }

  /**
   * Starts threads of this process that run `entry`; there, too, it `connect()`s to this server. Throws
   * ERR_SOCKETSERVER_ENTRY_NOT_FOUND, ERR_SOCKETSERVER_CLOSED, or what `worker_threads`' Worker throws.
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
   * Lets programs in any language join as workers, by connecting to a Unix socket and speaking the protocol; a Node process
   * does so by `connect(path)`. `path` is one in the file system, which then appears with its `mode` and is removed at the end,
   * or, on Linux, an abstract name that begins with a null byte. Only processes of this user are let in, unless `allow` names
   * others. Rejects as `net` fails to listen (EADDRINUSE if somebody answers at the path, or it is no socket), and with
   * ERR_SOCKETSERVER_CLOSED once the server drains.
   */
  async share(path: string, options: ShareOptions = {}): Promise<Share> {
    const settings = parseShareOptions(path, options)
    this.#open('share()')
    const share = this.#shares.open(settings)
    this.#addWorkers()
    this.#keepAlive.hold()
    return share
  }

  /** A snapshot of what it has done and what it holds. */
  stats(): ServerStats {
    const { states, ...counts } = this.#supervisor.stats()
    this.#shares.count(states)
    return { ...this.#native.stats(), states, ...counts }
  }

  /**
   * Stops accepting, what the kernel's backlog holds excepted, and waits until the queue is empty and the last lease is
   * over. Nothing is cut when the time is up; then the result is not `complete`.
   */
  drain(options: DrainOptions = {}): Promise<DrainResult> {
    const timeout = parseDrainOptions(options)
    if (this.#state === 'open') this.#state = 'draining'
    return this.#drain.wait(timeout)
  }

  /**
   * Drains, then has the workers leave and waits until they have exited, then closes. What the drain has not finished in time is
   * ended, and counted in `cut`. A worker that does not exit within `killTimeout` after the drain gets SIGTERM, and after as long
   * again SIGKILL. Every call returns the same promise.
   */
  close(options: CloseOptions = {}): Promise<void> {
    const timeout = parseDrainOptions(options, this.#closeTimeout)
    this.#closing ??= this.#close(timeout)
    return this.#closing
  }

  /** Closes listeners, queue and channels and kills the workers, now. What they held is reset. */
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

  /** Has the server and its workers keep the process alive, as they do from the start. */
  ref(): this {
    this.#keepAlive.ref()
    this.#supervisor.reference(true)
    return this
  }

  /** Lets the process exit although the server listens or has workers. */
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
    // Their connections are over, or their time is: from here on a worker is only in the way.
    if (this.#state !== 'destroyed') this.#keepAlive.hold()
    // A drain that was complete has left no leases.
    const timeToLeave = ({ leases }: WorkerHandle): number => (leases > 0 ? AT_ONCE : this.#killTimeout)
    await Promise.all([this.#supervisor.stop(timeToLeave), this.#shares.stop(timeToLeave)])
    this.#native.destroy()
    this.#readNotices()
    this.#shares.kill()
    this.#keepAlive.release()
    this.#state = 'closed'
    this.emit('close')
  }

  #addWorkers(): void {
    this.#hasWorkers = true
    this.#setupWarnings.update()
  }

  /** The native side, while it takes new things. */
  #open(what: string): NativeServer {
    if (this.#state === 'open') return this.#native
    throw new SocketServerError('ERR_SOCKETSERVER_CLOSED', `The server is ${this.#state}: ${what} comes too late`)
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
      debug('connection %d from %s is given up: %s', info.id, info.remoteAddress ?? 'a Unix socket', info.reason)
      if (diagnostics.connectionShed.hasSubscribers) diagnostics.connectionShed.publish(info)
      this.emit('shed', info)
    },
    failed: (error) => report(this, error),
    broken: () => this.destroy(),
    failedAgain: (kind, make) => this.#repeatedErrors.add(kind, make),
    drained: () => {
      this.#drain.settle()
      this.#keepAlive.release()
    },
  }
}

function isReady({ ready, starting }: ServerStats['states']): boolean {
  return ready > 0 && starting === 0
}

/** Milliseconds for a worker whose time is up; 0 would be no limit. */
const AT_ONCE = 1
