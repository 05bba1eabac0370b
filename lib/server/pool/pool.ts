import { type InspectOptionsStylized, inspect } from 'node:util'
import { hasCode, SocketServerError } from '../../errors.js'
import { summary } from '../../summary.js'
import type { SupervisedWorker } from '../worker/supervised-worker.js'
import type { ProcessHandle, WorkerHandle } from '../worker/worker-handle.js'
import { type PoolSettings, poolSize } from './pool-options.js'
import { Recycling } from './recycling.js'
import { Reload, type ReloadOptions, type ReloadSetup } from './reload.js'
import { requireEntry } from './resolve-entry.js'
import { type RestartDecision, RestartPolicy } from './restart-policy.js'
import { isShortage } from './shortage.js'
import { Slot } from './slot.js'

/** The workers that one call started, kept alive. */
export interface Pool<Handle extends WorkerHandle = ProcessHandle> {
  /**
   * Resolves when every worker that `fork()` or `threads()` started is ready. Rejects with
   * ERR_SOCKETSERVER_WORKER_EXITED or ERR_SOCKETSERVER_READY_TIMEOUT if one does not get there, although that is tried
   * again; if nobody has asked for `ready` by then, the server's `error` tells it instead.
   */
  readonly ready: Promise<void>
  /** Those whose process or thread has not exited, oldest first. */
  readonly workers: readonly Handle[]
  /** How many there are meant to be. */
  readonly size: number
  /**
   * Changes how many there are, 0 to 65535. Upwards it resolves when the new ones are ready, and rejects as `ready` does
   * if one does not get there, which the server's `error` tells too. Downwards the workers of the highest slots are retired, so
   * that slots are always 0 to n-1; it resolves when they have finished what they hold and have exited.
   */
  resize(size: number): Promise<void>
  /**
   * Replaces every worker: starts the new generation and waits until all of it is ready, then retires the old, a few at a
   * time. Resolves when the old have finished what they hold and have exited. If one of the new does not get ready, the
   * old go on serving and it rejects with the reason. The entry is looked up again through the path as given, so a path
   * through a link to the current release starts the new one. Calls while one runs are one reload after it.
   */
  reload(options?: ReloadOptions): Promise<void>
  /** Retires all of them; resolves when they have finished what they hold and have exited. */
  close(): Promise<void>
}

export interface PoolSetup {
  entry: string
  workers: number
  settings: PoolSettings
  /** Starts one worker, or throws. `isSuspect`: the last one in its slot did not get ready. */
  spawn: (slot: number, generation: number, restarts: number, isSuspect: boolean) => SupervisedWorker
  /** Told of a failure that nobody waits for. */
  report: (error: Error) => void
  /** Told that a worker will be started in the slot of one that has exited. */
  restarting: (generation: number, decision: RestartDecision, error: Error) => void
  /** Told how far a reload has come. */
  reloading: ReloadSetup['progress']
  /** Told that a worker's event loop has not turned for so many milliseconds. */
  stalled: (worker: SupervisedWorker, stalledFor: number) => void
}

export class WorkerPool implements Pool<WorkerHandle> {
  readonly #setup: PoolSetup
  readonly #workers = new Set<SupervisedWorker>()
  /** The index of a slot is its number. */
  readonly #slots: Slot[] = []
  readonly #ready: Promise<void>
  readonly #reload: Reload
  readonly #recycling: Recycling
  #generation = 1
  #isReadyWatched = false
  #isReferenced = true
  /** Since when the pool has been in a crash loop that it has told of; undefined while it is not. */
  #crashLoopSince: number | undefined
  /** When a start last failed for a shortage of the system's. */
  #shortageAt = Number.NEGATIVE_INFINITY
  #closing: Promise<void> | undefined
  #ignoreSignal: () => void = () => {}

  constructor(setup: PoolSetup) {
    this.#setup = setup
    this.#reload = new Reload({
      nextGeneration: () => {
        if (this.#closing) throw closedError('reload()')
        // A link in the path may name another release by now, in which the file is missing.
        requireEntry(setup.entry)
        this.#generation += 1
        return this.#generation
      },
      slots: () => [...this.#slots],
      isClosed: () => this.#closing !== undefined,
      drainTimeout: setup.settings.drainTimeout,
      progress: setup.reloading,
    })
    this.#recycling = new Recycling(setup.settings, {
      workers: () => this.workers,
      replace: (worker, why) => this.#replace(worker, why),
      stalled: (worker, stalledFor) => setup.stalled(worker, stalledFor),
    })
    try {
      this.#ready = connected(this.#grow(setup.workers))
    } catch (error) {
      void this.close()
      for (const worker of this.#workers) worker.kill()
      throw error
    }
    this.#ready.catch((error: Error) => {
      if (!this.#isReadyWatched && !hasCode(error, 'ERR_SOCKETSERVER_CLOSED')) setup.report(error)
    })
  }

  get ready(): Promise<void> {
    this.#isReadyWatched = true
    return this.#ready
  }

  get workers(): readonly SupervisedWorker[] {
    return [...this.#workers].filter(({ state }) => state !== 'exited')
  }

  get size(): number {
    return this.#slots.length
  }

  resize(size: number): Promise<void> {
    try {
      poolSize('size', size)
      if (this.#closing) throw closedError('resize()')
      // Those that were not to be restarted by themselves.
      if (this.#setup.settings.restart === undefined) for (const slot of this.#slots) slot.fill()
      if (size <= this.#slots.length) return this.#vacate(this.#slots.slice(size))
      const grown = this.#waitFor(this.#grow(size - this.#slots.length))
      // A resize() in a signal handler is one that nobody waits for: `error` tells of it, and the process lives.
      grown.catch(() => {})
      return grown
    } catch (error) {
      return Promise.reject(error)
    }
  }

  reload(options: ReloadOptions = {}): Promise<void> {
    const reloaded = this.#reload.request(options)
    reloaded.catch(() => {})
    return reloaded
  }

  /** Closes the pool when `signal` is aborted. */
  closeOn(signal: AbortSignal): void {
    const close = (): void => void this.close()
    signal.addEventListener('abort', close)
    // A signal may outlive many pools.
    this.#ignoreSignal = () => signal.removeEventListener('abort', close)
  }

  close(): Promise<void> {
    this.#ignoreSignal()
    this.#recycling.stop()
    this.#closing ??= this.#close()
    return this.#closing
  }

  [inspect.custom](depth: number, options: InspectOptionsStylized): string {
    const { size, workers } = this
    return summary('Pool', { entry: this.#setup.entry, size, generation: this.#generation, workers }, depth, options)
  }

  reference(isReferenced: boolean): void {
    this.#isReferenced = isReferenced
    for (const slot of this.#slots) slot.reference(isReferenced)
    for (const worker of this.#workers) worker.runtime.reference(isReferenced)
  }

  async #close(): Promise<void> {
    const vacated = this.#vacate([...this.#slots])
    await Promise.all([vacated, ...this.workers.map(({ exited }) => exited)])
  }

  async #waitFor(workers: readonly SupervisedWorker[]): Promise<void> {
    try {
      await connected(workers)
    } catch (error) {
      if (error instanceof Error && !hasCode(error, 'ERR_SOCKETSERVER_CLOSED')) this.#setup.report(error)
      throw error
    }
  }

  /** Adds slots, each with a worker. Throws if one cannot be started; then that slot is not there. */
  #grow(count: number): SupervisedWorker[] {
    return Array.from({ length: count }, () => {
      const { restart, drainTimeout } = this.#setup.settings
      const number = this.#slots.length
      const slot: Slot = new Slot({
        policy: restart === undefined ? undefined : new RestartPolicy(restart),
        drainTimeout,
        start: (restarts, isSuspect) => this.#start(number, restarts, isSuspect),
        restarting: (decision, error, failed) => this.#restarting(decision, error, failed),
      })
      slot.reference(this.#isReferenced)
      slot.fill()
      this.#slots.push(slot)
      return slot.worker
    }).filter((worker) => worker !== undefined)
  }

  #start(slot: number, restarts: number, isSuspect: boolean): SupervisedWorker {
    const worker = this.#setup.spawn(slot, this.#generation, restarts, isSuspect)
    worker.runtime.reference(this.#isReferenced)
    this.#workers.add(worker)
    void worker.exited.then(() => this.#workers.delete(worker))
    return worker
  }

  /** Gives up the last slots, which are these. */
  async #vacate(slots: readonly Slot[]): Promise<void> {
    this.#slots.length -= slots.length
    const workers = slots.map((slot) => slot.vacate())
    await Promise.all(
      workers.map((worker) => {
        worker?.retire(this.#setup.settings.drainTimeout)
        return worker?.exited
      }),
    )
  }

  /** Has one worker be replaced by a fresh one; if that does not get ready, the old one stays, and this is false. */
  async #replace(worker: SupervisedWorker, why: string): Promise<boolean> {
    const slot = [...this.#slots].find((candidate) => candidate.worker === worker)
    if (slot === undefined || slot.isChanging || this.#reload.isRunning) return true
    try {
      await slot.replace()
      return true
    } catch (error) {
      if (!slot.isVacated) this.#setup.report(replacementError(worker, why, error))
      return false
    }
  }

  #restarting(decision: RestartDecision, error: Error, failed: SupervisedWorker | undefined): void {
    this.#setup.restarting(this.#generation, decision, error)
    this.#endCrashLoop()
    if (this.#crashLoopSince !== undefined) return
    if (isShortage(error) && this.#isSameShortage()) return
    if (decision.isCrashLoop) {
      this.#crashLoopSince = performance.now()
      this.#setup.report(crashLoopError(this.#setup, decision, error))
    } else if (failed === undefined || (failed.uptime === undefined && failed.restarts > 0)) {
      // A first start is told of by the promise of whoever asked for it.
      this.#setup.report(error)
    }
  }

  /** Notes a shortage; true if the one before is so recent that it goes on, and has been told. */
  #isSameShortage(): boolean {
    const before = this.#shortageAt
    this.#shortageAt = performance.now()
    return this.#shortageAt - before < SHORTAGE_EPISODE
  }

  /** The loop is over when a worker that was started since it was told of has lived for long enough. */
  #endCrashLoop(): void {
    const since = this.#crashLoopSince
    const minUptime = this.#setup.settings.restart?.minUptime ?? 0
    if (since === undefined) return
    const lasted = performance.now() - since
    const isOver = this.workers.some(({ uptime }) => uptime !== undefined && uptime >= minUptime && uptime < lasted)
    if (isOver) this.#crashLoopSince = undefined
  }
}

/** Milliseconds without a failed start after which the next shortage is told anew; in one, each slot tries about once a second. */
const SHORTAGE_EPISODE = 10_000

async function connected(workers: readonly SupervisedWorker[]): Promise<void> {
  await Promise.all(workers.map((worker) => worker.connected))
}

function closedError(what: string): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CLOSED', `The pool is closed: ${what} comes too late`)
}

function replacementError(worker: SupervisedWorker, why: string, cause: unknown): SocketServerError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  const message = `Worker ${worker.id} ${why} and could not be replaced, so it goes on: ${reason}`
  return new SocketServerError('ERR_SOCKETSERVER_WORKER_EXITED', message, { pid: worker.pid, cause })
}

function crashLoopError(
  { entry, settings }: PoolSetup,
  { failures }: RestartDecision,
  cause: Error,
): SocketServerError {
  const { minUptime = 0, maxDelay = 0 } = settings.restart ?? {}
  return new SocketServerError(
    'ERR_SOCKETSERVER_CRASH_LOOP',
    `A worker of ${entry} has exited ${failures} times in a row before it was ready or within ${minUptime} ms after; it is tried ` +
      `again every ${maxDelay} ms, and connections wait. The last time: ${cause.message}`,
    { cause },
  )
}
