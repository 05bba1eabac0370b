// Runs in the PARENT: what it knows of one worker. The worker's own side is client/client.ts.

import { type InspectOptionsStylized, inspect } from 'node:util'
import { SocketServerError } from '../../errors.js'
import { beatsOf, type NativeServer } from '../../native.js'
import { summary } from '../../summary.js'
import { listenersOf } from './own-listeners.js'
import type { KnownWorker, WorkerState } from './worker-handle.js'
import { runtimeName, type WorkerExit, type WorkerRuntime } from './worker-runtime.js'

/** What the handle on a supervised worker needs of the native server. */
export type SupervisedWorkerPort = Pick<NativeServer, 'channelStats' | 'closeWorkerEnd' | 'retire' | 'endChannel'>

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
  /** Whether the worker says itself that it is ready. */
  isReadyManual: boolean
  drainTimeout: number
  killTimeout: number
  /** Told of each change of state. */
  changed: (worker: SupervisedWorker, from: WorkerState) => void
}

/**
 * The parent's handle on a worker. Its life:
 *
 *     starting --joined--> ready --retire--> retiring --channel ends--> leaving --exit--> exited
 *         \                  \--leaving, or channel ends--> left --retire--> retiring, or leaving
 *          \--channel ends--> left
 *
 * `retiring` has the time that `retire` gives it, after which its channel is ended, and `leaving` has `killTimeout`. A worker
 * that has left by itself has `drainTimeout` to finish its leases and exit. From everywhere an exit leads to `exited`.
 */
export class SupervisedWorker implements KnownWorker {
  readonly id: number
  readonly slot: number
  readonly generation: number
  readonly restarts: number
  readonly runtime: WorkerRuntime
  readonly channel: number
  /** Resolves when it is ready; rejects if it is not in time, or exits or is retired before. Never an unhandled rejection. */
  readonly connected: Promise<void>
  /** Resolves when its process or thread is gone. */
  readonly exited: Promise<WorkerExit>
  /** Resolves when its channel has ended, and what it took along has been told; or when nobody listens to that any more. */
  readonly settled: Promise<void>
  readonly #setup: WorkerSetup
  #stage: 'starting' | 'ready' | 'retiring' | 'left' | 'leaving' | 'exited' = 'starting'
  #since = Date.now()
  #readySince: number | undefined
  #startError: SocketServerError | undefined
  #handled = 0
  #isExpired = false
  /** The one deadline it is under: to be ready, to finish, to exit. */
  #timer: NodeJS.Timeout | undefined
  /** When that deadline expires, on the clock of `performance.now()`. */
  #deadline = Number.POSITIVE_INFINITY
  #eofTimer: NodeJS.Timeout | undefined
  #isSettled = false
  #settleConnected: (error?: Error) => void = () => {}
  #settle: () => void = () => {}

  constructor(setup: WorkerSetup) {
    this.#setup = setup
    this.id = setup.id
    this.slot = setup.slot
    this.generation = setup.generation
    this.restarts = setup.restarts
    this.runtime = setup.runtime
    this.channel = setup.channel
    this.connected = new Promise((resolve, reject) => {
      this.#settleConnected = (error) => (error === undefined ? resolve() : reject(error))
    })
    this.connected.catch(() => {})
    this.settled = new Promise((resolve) => {
      this.#settle = resolve
    })
    this.exited = setup.runtime.exited.then((exit) => {
      this.#gone(exit)
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

  /** Milliseconds since it became ready; undefined if it never was. */
  get uptime(): number | undefined {
    return this.#readySince === undefined ? undefined : performance.now() - this.#readySince
  }

  /** Whether it has not finished what it held in the time that `retire` gave it. */
  get isExpired(): boolean {
    return this.#isExpired
  }

  get leases(): number {
    return this.#setup.native.channelStats(this.channel)?.leases ?? 0
  }

  get handled(): number {
    return this.#setup.native.channelStats(this.channel)?.handedOff ?? this.#handled
  }

  /** How often its event loop has shown that it turns; undefined while it does not say. */
  get beats(): number | undefined {
    return beatsOf(this.#setup.native, this.channel)
  }

  [inspect.custom](depth: number, options: InspectOptionsStylized): string {
    const { id, slot, pid, threadId, generation, state, leases, handled, restarts } = this
    const body = threadId === undefined ? { pid } : { threadId }
    return summary('Worker', { id, slot, ...body, generation, state, leases, handled, restarts }, depth, options)
  }

  /** The native side says that it has connected. */
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

  /** The native side says that its channel is over, after so many connections. */
  channelEnded(handled: number): void {
    this.#handled = handled
    this.forget()
    // While it starts, `readyTimeout` is its deadline.
    if (this.#stage === 'starting') this.#enter('left')
    else if (this.#stage === 'retiring') this.#leave()
    else this.leaving()
  }

  /** Its channel has nothing more to say, or nobody is left to hear it. */
  forget(): void {
    this.#isSettled = true
    clearTimeout(this.#eofTimer)
    this.#settle()
  }

  /**
   * Gives it no more connections and has it leave when it has finished those it holds, for which it has `within`
   * milliseconds; 0 is for ever. A second call may shorten that.
   */
  retire(within: number): void {
    if (this.#stage === 'left' && this.#isSettled) {
      this.#leave()
    } else if (this.#stage === 'starting') {
      // It holds nothing, and may never get to read that it is to leave.
      this.#enter('leaving')
      this.#setup.native.retire(this.channel)
      this.#endSoon()
    } else if (this.#stage === 'ready' || this.#stage === 'left') {
      this.#enter('retiring')
      this.#setup.native.retire(this.channel)
      this.#expireWithin(within)
    } else if (this.#stage === 'retiring') {
      this.#expireWithin(within)
    }
  }

  /** Ends it now. */
  kill(): void {
    if (this.#stage === 'exited') return
    if (this.#stage !== 'leaving') this.#enter('leaving')
    this.runtime.kill()
  }

  /** Says why it did not become ready, or exited: its exit code or signal, and its last lines. */
  exitError(exit: WorkerExit): SocketServerError {
    return this.#startError ?? this.#exitError(exit)
  }

  #exitError({ code, signal, cause }: WorkerExit): SocketServerError {
    const { entry, runtime } = this.#setup
    const how = signal !== null ? `was ended by ${signal}` : `exited with code ${code}`
    const when = this.#readySince === undefined ? ' before it had connected' : ''
    const why = cause instanceof Error ? `: ${cause.message}` : ''
    const lines = runtime.lastLines === '' ? '' : `. Its last lines:\n${runtime.lastLines}`
    const message =
      code === null && signal === null
        ? `Worker ${this.id} (${entry}) could not be started${why}`
        : `Worker ${this.id} (${entry}, ${runtimeName(runtime)}) ${how}${when}${why}${lines}`
    return new SocketServerError('ERR_SOCKETSERVER_WORKER_EXITED', message, {
      pid: this.pid,
      threadId: this.threadId,
      exitCode: code ?? undefined,
      signal: signal ?? undefined,
      stderr: runtime.lastLines === '' ? undefined : runtime.lastLines,
      cause,
    })
  }

  /** It has not become ready in time. */
  async #late(): Promise<void> {
    const { entry, readyTimeout, runtime } = this.#setup
    const reason = notReadyReason(this.#setup, await listenersOf(this.pid))
    // It has connected, exited or been retired meanwhile.
    if (this.#stage !== 'starting') return
    const lines = runtime.lastLines === '' ? '' : `. Its last lines:\n${runtime.lastLines}`
    const message = `Worker ${this.id} (${entry}, ${runtimeName(runtime)}) was not ready within ${readyTimeout} ms: ${reason}${lines}`
    const details = {
      pid: this.pid,
      threadId: this.threadId,
      stderr: runtime.lastLines === '' ? undefined : runtime.lastLines,
    }
    this.#startError = new SocketServerError('ERR_SOCKETSERVER_READY_TIMEOUT', message, details)
    this.#settleConnected(this.#startError)
    // Should it connect after all, it is not to be given anything.
    this.#setup.native.endChannel(this.channel)
    this.#terminate()
  }

  /** Sets the deadline to finish, unless an earlier one is set; 0 sets none. */
  #expireWithin(within: number): void {
    if (within > 0 && performance.now() + within < this.#deadline) this.#after(within, () => this.#expire())
  }

  /** Its time to finish is over: its sockets are ended, in the worker if that still listens, and it is to go. */
  #expire(): void {
    this.#isExpired = true
    this.#enter('leaving')
    this.#setup.native.endChannel(this.channel)
    this.#after(END_GRACE, () => this.#terminate())
  }

  #leave(): void {
    this.#enter('leaving')
    this.#endSoon()
  }

  /** It has `killTimeout` to exit by itself. */
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
    // Does not hold this process: while the worker is there, its own handle does.
    this.#timer = setTimeout(act, delay).unref()
  }

  #stopTimer(): void {
    clearTimeout(this.#timer)
    this.#deadline = Number.POSITIVE_INFINITY
  }

  #gone(exit: WorkerExit): void {
    const wasDismissed = this.#stage === 'retiring' || this.#stage === 'leaving'
    this.#stopTimer()
    this.#setup.native.closeWorkerEnd(this.channel)
    this.#settleConnected(wasDismissed ? this.#retiredError() : this.exitError(exit))
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
   * A grandchild that inherited the channel before `connect()` had set CLOEXEC on it keeps it from reaching EOF.
   * Not at once: what the worker has acknowledged may still be unread, and would be served a second time.
   */
  #endChannelLater(): void {
    if (!this.#isSettled) this.#eofTimer = setTimeout(() => this.#setup.native.endChannel(this.channel), EOF_GRACE)
  }

  #retiredError(): SocketServerError {
    const message = `Worker ${this.id} was told to leave before it had connected`
    return new SocketServerError('ERR_SOCKETSERVER_CLOSED', message, { pid: this.pid, threadId: this.threadId })
  }
}

function notReadyReason({ isReadyManual }: WorkerSetup, listeners: readonly string[]): string {
  const missing = isReadyManual ? 'connect() and client.ready()' : 'connect()'
  if (listeners.length === 0) return `it has not called ${missing}`
  const where = listeners.join(', ')
  return `it listens by itself, on ${where}, and has not called ${missing}: replace server.listen() by connect().serve(server)`
}

/** Milliseconds in which the native side reads what a dead worker had still written; it takes microseconds. */
const EOF_GRACE = 1000

/** Milliseconds that a worker has to end its sockets in order, once its time is up, before SIGTERM. */
const END_GRACE = 250
