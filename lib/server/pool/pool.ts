import { type InspectOptionsStylized, inspect } from 'node:util'
import { callOnClosed, hasCode, SocketServerError } from '../../errors.js'
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

/** The workers that one call of `fork()` or `threads()` started. The pool restarts workers that exit. */
export interface Pool<Handle extends WorkerHandle = ProcessHandle> {
  /**
   * Resolves when every worker that `fork()` or `threads()` started is ready. Rejects with
   * ERR_SOCKETSERVER_WORKER_EXITED or ERR_SOCKETSERVER_READY_TIMEOUT if the first start of a worker fails, although the pool
   * retries. If `ready` was not read by then, the server emits `error` instead.
   */
  readonly ready: Promise<void>
  /** The workers whose process or thread has not exited, oldest first. */
  readonly workers: readonly Handle[]
  /** The number of workers that the pool maintains. */
  readonly size: number
  /**
   * Changes the number of workers, 0 to 65535. When the pool grows, the promise resolves when the new workers are ready, and
   * rejects like `ready` if one does not become ready, which the server's `error` reports too. When the pool shrinks, the
   * workers of the highest slots are retired, so that slots are always 0 to n-1; the promise resolves when they have exited.
   * Rejects with ERR_SOCKETSERVER_CLOSED once the pool is closed.
   */
  resize(size: number): Promise<void>
  /**
   * Replaces every worker. Starts a new generation, waits until all of it is ready, then retires the old generation a few
   * workers at a time. Resolves when the old workers have finished their leases and exited.
   *
   * If a new worker does not become ready, the old workers keep serving and the promise rejects with the reason. Each reload looks
   * up the entry through the path as given, so a path through a link starts the release that the link names now. Calls during a
   * reload are combined into one further reload.
   */
  reload(options?: ReloadOptions): Promise<void>
  /** Retires all workers. Resolves when they have finished their leases and exited. */
  close(): Promise<void>
}

/** What a pool needs of the supervisor. */
export interface PoolSetup {
  entry: string
  workers: number
  settings: PoolSettings
  /** Starts one worker, or throws. `failedToStart`: the previous worker of the slot exited before it was ready. */
  spawn: (slot: number, generation: number, restarts: number, failedToStart: boolean) => SupervisedWorker
  /** Reports a failure for which no promise is pending. */
  report: (error: Error) => void
  /** Called when a worker has exited and will be replaced. */
  restarting: (generation: number, decision: RestartDecision, error: Error) => void
  /** Called at each stage of a reload. */
  reloading: ReloadSetup['progress']
  /** Called once per stall, with the milliseconds since the worker's event loop last turned. */
  stalled: (worker: SupervisedWorker, stalledFor: number) => void
}

/** The implementation of {@link Pool}. */
export class WorkerPool implements Pool<WorkerHandle> {
  readonly #setup: PoolSetup
  readonly #workers = new Set<SupervisedWorker>()
  /** The slots; the index is the number of the slot. */
  readonly #slots: Slot[] = []
  readonly #ready: Promise<void>
  readonly #reload: Reload
  readonly #recycling: Recycling
  #generation = 1
  #isReadyWatched = false
  #isReferenced = true
  /** When the current crash loop was reported; undefined outside a crash loop. */
  #crashLoopSince: number | undefined
  /** When a start last failed because of a shortage. */
  #shortageAt = Number.NEGATIVE_INFINITY
  #closing: Promise<void> | undefined
  #ignoreSignal: () => void = () => {}

  constructor(setup: PoolSetup) {
    this.#setup = setup
    this.#reload = new Reload({
      nextGeneration: () => {
        if (this.#closing) throw closedError('reload()')
        // A link in the path may name another release now, which may lack the file.
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
      replace: (worker, reason) => this.#replace(worker, reason),
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
      // With `restart: false` slots stay empty until a resize.
      if (this.#setup.settings.restart === undefined) for (const slot of this.#slots) slot.fill()
      if (size <= this.#slots.length) return this.#vacate(this.#slots.slice(size))
      const grown = this.#waitFor(this.#grow(size - this.#slots.length))
      // A signal handler calls resize() without awaiting it. `error` reports the failure, and the process lives.
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

  /** Adds slots and starts a worker in each. Throws if a start fails; that slot is not added. */
  #grow(count: number): SupervisedWorker[] {
    return Array.from({ length: count }, () => {
      const { restart, drainTimeout } = this.#setup.settings
      const number = this.#slots.length
      const slot: Slot = new Slot({
        policy: restart === undefined ? undefined : new RestartPolicy(restart),
        drainTimeout,
        start: (restarts, failedToStart) => this.#start(number, restarts, failedToStart),
        restarting: (decision, error, failed) => this.#restarting(decision, error, failed),
      })
      slot.reference(this.#isReferenced)
      slot.fill()
      this.#slots.push(slot)
      return slot.worker
    }).filter((worker) => worker !== undefined)
  }

  #start(slot: number, restarts: number, failedToStart: boolean): SupervisedWorker {
    const worker = this.#setup.spawn(slot, this.#generation, restarts, failedToStart)
    worker.runtime.reference(this.#isReferenced)
    this.#workers.add(worker)
    void worker.exited.then(() => this.#workers.delete(worker))
    return worker
  }

  /** Removes `slots`, which are the last ones, and waits until their workers have exited. */
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

  /** Replaces one worker. Resolves to false if the replacement does not become ready; then the old worker stays. */
  async #replace(worker: SupervisedWorker, reason: string): Promise<boolean> {
    const slot = this.#slots.find((candidate) => candidate.worker === worker)
    if (slot === undefined || slot.hasSuccessor || this.#reload.isRunning) return true
    try {
      await slot.replace()
      return true
    } catch (error) {
      if (!slot.isVacated) this.#setup.report(replacementError(worker, reason, error))
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
      // A failed first start rejects the promise of the call that started the worker.
      this.#setup.report(error)
    }
  }

  /** Records a shortage. Returns whether it continues an earlier one, which was reported. */
  #isSameShortage(): boolean {
    const before = this.#shortageAt
    this.#shortageAt = performance.now()
    return this.#shortageAt - before < SHORTAGE_EPISODE
  }

  /** Ends the crash loop if a worker that started after its report has been ready for `minUptime`. */
  #endCrashLoop(): void {
    const since = this.#crashLoopSince
    const minUptime = this.#setup.settings.restart?.minUptime ?? 0
    if (since === undefined) return
    const lasted = performance.now() - since
    const isOver = this.workers.some(({ uptime }) => uptime !== undefined && uptime >= minUptime && uptime < lasted)
    if (isOver) this.#crashLoopSince = undefined
  }
}

/** Milliseconds without a failed start after which the next shortage is reported again. In a shortage each slot retries every second. */
const SHORTAGE_EPISODE = 10_000

async function connected(workers: readonly SupervisedWorker[]): Promise<void> {
  await Promise.all(workers.map((worker) => worker.connected))
}

function closedError(call: string): SocketServerError {
  return callOnClosed(call, 'the pool is closed')
}

function replacementError(worker: SupervisedWorker, reason: string, cause: unknown): SocketServerError {
  const failure = cause instanceof Error ? cause.message : String(cause)
  const message = `Worker ${worker.id} ${reason} and stays, because its replacement failed: ${failure}`
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
    `A worker of ${entry} has exited ${failures} times in a row before it was ready or within ${minUptime} ms after. It is ` +
      `restarted every ${maxDelay} ms. The last error: ${cause.message}`,
    { cause },
  )
}
