// Runs in the PARENT: the handle of a worker that the server started. The worker's counterpart is client/client.ts.

import { type InspectOptionsStylized, inspect } from 'node:util'
import type { SocketServerError } from '../../errors.js'
import type { NativeServer } from '../../native.js'
import { summary } from '../../summary.js'
import type { Readiness } from './readiness.js'
import { exitError, readyTimeoutError, retiredError } from './start-errors.js'
import { WorkerChannel, type WorkerChannelPort } from './worker-channel.js'
import type { KnownWorker, WorkerState } from './worker-handle.js'
import type { WorkerExit, WorkerRuntime } from './worker-runtime.js'

/** The methods of the native server that the handle of a supervised worker calls. */
export type SupervisedWorkerPort = WorkerChannelPort & Pick<NativeServer, 'closeWorkerEnd'>

/** The properties of a worker, and the functions of the supervisor that its handle calls. */
export interface WorkerSetup {
  id: number
  slot: number
  generation: number
  restarts: number
  entry: string
  channel: number
  runtime: WorkerRuntime
  native: SupervisedWorkerPort
  readyTimeout: number
  /** The words for errors about the readiness of the worker. */
  readiness: Readiness
  drainTimeout: number
  killTimeout: number
  /** Whether the worker runs an app that does not know this package, and which does not read its channel before it is ready. */
  isApp: boolean
  /** Called at each change of the state. */
  changed: (worker: SupervisedWorker, from: WorkerState) => void
}

/**
 * The parent's handle of a worker that it started. The stages:
 *
 *     starting --joined--> ready --retire--> retiring --channel ends--> leaving --exit--> exited
 *         \                  \--leaving, or channel ends--> left --retire--> retiring, or leaving
 *          \--channel ends--> left
 *
 * In `retiring` the worker has the time of `retire`, then its channel is ended. In `leaving` it has `killTimeout`. A worker that
 * left by itself has `drainTimeout` to finish its leases and exit. An exit leads from every stage to `exited`.
 */
export class SupervisedWorker implements KnownWorker {
  readonly id: number
  readonly slot: number
  readonly generation: number
  readonly restarts: number
  readonly runtime: WorkerRuntime
  readonly channel: number
  /** Resolves when the worker is ready. Rejects if it is late, exits or is retired before. Never an unhandled rejection. */
  readonly connected: Promise<void>
  /** Resolves when the process or thread has exited. */
  readonly exited: Promise<WorkerExit>
  /** Resolves when the channel has ended and `cut` has been reported, or when the native server was destroyed. */
  readonly settled: Promise<void>
  readonly #setup: WorkerSetup
  readonly #channel: WorkerChannel
  #stage: 'starting' | 'ready' | 'retiring' | 'left' | 'leaving' | 'exited' = 'starting'
  #since = Date.now()
  #readySince: number | undefined
  #startError: SocketServerError | undefined
  #isExpired = false
  /** The timer of the current deadline: to become ready, to finish, or to exit. */
  #timer: NodeJS.Timeout | undefined
  /** When the current deadline expires, by `performance.now()`. */
  #deadline = Number.POSITIVE_INFINITY
  #eofTimer: NodeJS.Timeout | undefined
  #isSettled = false
  #settleConnected: (error?: Error) => void = () => {}
  #resolveSettled: () => void = () => {}

  constructor(setup: WorkerSetup) {
    this.#setup = setup
    this.id = setup.id
    this.slot = setup.slot
    this.generation = setup.generation
    this.restarts = setup.restarts
    this.runtime = setup.runtime
    this.channel = setup.channel
    this.#channel = new WorkerChannel(setup.native, setup.channel)
    this.connected = new Promise((resolve, reject) => {
      this.#settleConnected = (error) => (error === undefined ? resolve() : reject(error))
    })
    this.connected.catch(() => {})
    this.settled = new Promise((resolve) => {
      this.#resolveSettled = resolve
    })
    this.exited = setup.runtime.exited.then((exit) => {
      this.#onExit(exit)
      return exit
    })
    if (setup.readyTimeout > 0) this.#after(setup.readyTimeout, () => void this.#late())
  }

  get pid(): number | undefined {
    return this.runtime.pid
  }

  get threadId(): number | undefined {
    return this.runtime.threadId
  }

  get process(): WorkerRuntime['process'] {
    return this.runtime.process
  }

  get thread(): WorkerRuntime['thread'] {
    return this.runtime.thread
  }

  get state(): WorkerState {
    switch (this.#stage) {
      case 'starting':
      case 'ready':
      case 'exited':
        return this.#stage
      default:
        return 'draining'
    }
  }

  get since(): Date {
    return new Date(this.#since)
  }

  /** Milliseconds since the worker became ready; undefined if it never did. */
  get uptime(): number | undefined {
    return this.#readySince === undefined ? undefined : performance.now() - this.#readySince
  }

  /** Whether the worker did not finish its leases within the time of `retire`. */
  get isExpired(): boolean {
    return this.#isExpired
  }

  get leases(): number {
    return this.#channel.leases
  }

  get handled(): number {
    return this.#channel.handled
  }

  get eventLoopUtilization(): number | undefined {
    return this.#channel.eventLoopUtilization
  }

  /** The heartbeats of the worker's event loop so far; undefined without a channel. */
  get beats(): number | undefined {
    return this.#channel.beats
  }

  [inspect.custom](depth: number, options: InspectOptionsStylized): string {
    const { id, slot, pid, threadId, generation, state, leases, handled, restarts } = this
    const body = threadId === undefined ? { pid } : { threadId }
    return summary('Worker', { id, slot, ...body, generation, state, leases, handled, restarts }, depth, options)
  }

  /** Records that the worker has connected. */
  joined(): void {
    // A thread has its own copy of the channel now.
    this.#setup.native.closeWorkerEnd(this.channel)
    if (this.#stage === 'starting') {
      this.#readySince = performance.now()
      this.#stopTimer()
      this.#enter('ready')
    }
    this.#settleConnected()
  }

  /** Records that the worker takes no more connections, by its own choice: it has `drainTimeout` to finish and exit. */
  leaving(): void {
    if (this.#stage !== 'ready') return
    this.#enter('left')
    this.#expireWithin(this.#setup.drainTimeout)
  }

  /** Records that the channel has ended, after this many connections. */
  channelEnded(handled: number): void {
    this.#channel.ended(handled)
    this.settle()
    // In `starting` the deadline is `readyTimeout`.
    if (this.#stage === 'starting') this.#enter('left')
    else if (this.#stage === 'retiring') this.#leave()
    else this.leaving()
  }

  /** Records that no further notice about the channel will come. */
  settle(): void {
    this.#isSettled = true
    clearTimeout(this.#eofTimer)
    this.#resolveSettled()
  }

  /**
   * Retires the worker: it gets no more connections and has `within` milliseconds to finish its leases and leave; 0 means no
   * limit. A second call may shorten the time.
   */
  retire(within: number): void {
    if (this.#stage === 'left' && this.#isSettled) {
      this.#leave()
    } else if (this.#stage === 'starting') {
      // The worker holds no connection, and may never read the request to leave.
      this.#enter('leaving')
      this.#channel.retire()
      if (this.#setup.isApp) this.#terminate()
      else this.#endSoon()
    } else if (this.#stage === 'ready' || this.#stage === 'left') {
      this.#enter('retiring')
      this.#channel.retire()
      this.#expireWithin(within)
    } else if (this.#stage === 'retiring') {
      this.#expireWithin(within)
    }
  }

  /** Kills the worker now. */
  kill(): void {
    if (this.#stage === 'exited') return
    if (this.#stage !== 'leaving') this.#enter('leaving')
    this.runtime.kill()
  }

  /** Returns the error of a worker that exited or did not become ready, with its exit code or signal and its last lines. */
  exitError(exit: WorkerExit): SocketServerError {
    return this.#startError ?? exitError(this.#setup, exit, this.#readySince !== undefined)
  }

  /** Terminates a worker that did not become ready in time. */
  async #late(): Promise<void> {
    const error = await readyTimeoutError(this.#setup)
    // The worker has connected, exited or been retired meanwhile.
    if (this.#stage !== 'starting') return
    this.#startError = error
    this.#settleConnected(error)
    // If the worker connects after all, it must not get connections.
    this.#channel.end()
    this.#terminate()
  }

  /** Sets the deadline to finish unless an earlier one is set; 0 sets none. */
  #expireWithin(within: number): void {
    if (within > 0 && performance.now() + within < this.#deadline) this.#after(within, () => this.#expire())
  }

  /** Ends a worker that did not finish in time. The end of the channel makes the worker end its sockets, if it still runs. */
  #expire(): void {
    this.#isExpired = true
    this.#enter('leaving')
    this.#channel.end()
    this.#after(END_GRACE, () => this.#terminate())
  }

  #leave(): void {
    this.#enter('leaving')
    this.#endSoon()
  }

  /** Terminates the worker unless it exits within `killTimeout`. */
  #endSoon(): void {
    this.#after(this.#setup.killTimeout, () => this.#terminate())
  }

  #terminate(): void {
    if (this.#stage !== 'leaving') this.#enter('leaving')
    this.runtime.terminate()
    this.#after(this.#setup.killTimeout, () => this.runtime.kill())
  }

  #after(delay: number, act: () => void): void {
    this.#stopTimer()
    this.#deadline = performance.now() + delay
    // The timer need not keep this process alive: the handle of a running worker does.
    this.#timer = setTimeout(act, delay).unref()
  }

  #stopTimer(): void {
    clearTimeout(this.#timer)
    this.#deadline = Number.POSITIVE_INFINITY
  }

  #onExit(exit: WorkerExit): void {
    const wasRetired = this.#stage === 'retiring' || this.#stage === 'leaving'
    this.#stopTimer()
    this.#setup.native.closeWorkerEnd(this.channel)
    this.#settleConnected(wasRetired ? retiredError(this.#setup) : this.exitError(exit))
    this.#endChannelLater()
    this.#enter('exited')
  }

  #enter(stage: 'ready' | 'retiring' | 'left' | 'leaving' | 'exited'): void {
    const from = this.state
    this.#stage = stage
    if (this.state === from) return
    this.#since = Date.now()
    this.#setup.changed(this, from)
  }

  /**
   * Ends the channel of an exited worker if it does not reach EOF, because a grandchild inherited it before `connect()` set
   * CLOEXEC. Not at once: an unread acknowledgement would be lost, and its connection served a second time.
   */
  #endChannelLater(): void {
    if (!this.#isSettled) this.#eofTimer = setTimeout(() => this.#channel.end(), EOF_GRACE)
  }
}

/** Milliseconds in which the native thread reads the last frames of an exited worker. It needs microseconds. */
const EOF_GRACE = 1000

/** Milliseconds that a worker whose time is up has to end its sockets before SIGTERM. */
const END_GRACE = 250
