import { type InspectOptionsStylized, inspect } from 'node:util'
import { callOnClosed, hasCode, SocketServerError } from '../../errors.js'
import { summary } from '../../summary.js'
import type { SupervisedWorker } from '../worker/supervised-worker.js'
import type { WorkerHandle } from '../worker/worker-handle.js'
import type { Pool } from './pool.js'
import { type PoolSettings, poolSize } from './pool-options.js'
import { Recycling, type RecyclingReason } from './recycling.js'
import { Reload, type ReloadOptions, type ReloadSetup } from './reload.js'
import { requireEntry } from './resolve-entry.js'
import { type RestartDecision, RestartPolicy } from './restart-policy.js'
import { Slot } from './slot.js'
import { StartFailures } from './start-failures.js'

/** The parameters of a pool, and the functions of the supervisor that the pool calls. */
export interface PoolSetup {
  entry: string
  workers: number
  settings: PoolSettings
  /** Starts one worker, or throws. `failedToStart`: the previous worker of the slot exited before it was ready. */
  spawn: (slot: number, generation: number, restarts: number, failedToStart: boolean) => SupervisedWorker
  /** Reports a failure for which no promise is pending. */
  report: (error: Error) => void
  /** Called when a worker has exited, or could not be started, and will be replaced. */
  restarting: (
    generation: number,
    decision: RestartDecision,
    error: Error,
    failed: SupervisedWorker | undefined,
  ) => void
  /** Called at each stage of a reload. */
  reloading: ReloadSetup['progress']
  /** Called once per stall, with the milliseconds since the worker's event loop last turned. */
  stalled: (worker: SupervisedWorker, stalledFor: number) => void
  /** Called when all first workers have become ready. */
  wasReady: () => void
  /** Called when the number of slots has changed. */
  resized: (size: number) => void
  /** Called when a worker was replaced because it had reached a limit. */
  replaced: (reason: RecyclingReason) => void
  /** Called when the pool has closed and its workers have exited. */
  closed: () => void
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
  readonly #failures: StartFailures
  #generation = 1
  #isReadyWatched = false
  #isReferenced = true
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
    this.#failures = new StartFailures({
      entry: setup.entry,
      restart: setup.settings.restart,
      workers: () => this.workers,
      report: (error) => setup.report(error),
    })
    this.#recycling = new Recycling(setup.settings, {
      workers: () => this.workers,
      replace: (...replacement) => this.#replace(...replacement),
      stalled: (worker, stalledFor) => setup.stalled(worker, stalledFor),
    })
    try {
      this.#ready = connected(this.#grow(setup.workers))
    } catch (error) {
      void this.close()
      for (const worker of this.#workers) worker.kill()
      throw error
    }
    this.#ready.then(
      () => setup.wasReady(),
      () => {},
    )
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
    this.#setup.closed()
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
        restarting: (decision, error, failed) => {
          this.#setup.restarting(this.#generation, decision, error, failed)
          this.#failures.restarting(decision, error, failed)
        },
      })
      slot.reference(this.#isReferenced)
      slot.fill()
      this.#slots.push(slot)
      this.#setup.resized(this.#slots.length)
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
    this.#setup.resized(this.#slots.length)
    const workers = slots.map((slot) => slot.vacate())
    await Promise.all(
      workers.map((worker) => {
        worker?.retire(this.#setup.settings.drainTimeout)
        return worker?.exited
      }),
    )
  }

  /** Replaces one worker. Resolves to false if the replacement does not become ready; then the old worker stays. */
  async #replace(worker: SupervisedWorker, reason: RecyclingReason, sentence: string): Promise<boolean> {
    const slot = this.#slots.find((candidate) => candidate.worker === worker)
    if (slot === undefined || slot.hasSuccessor || this.#reload.isRunning) return true
    try {
      await slot.replace()
      this.#setup.replaced(reason)
      return true
    } catch (error) {
      if (!slot.isVacated) this.#setup.report(replacementError(worker, sentence, error))
      return false
    }
  }
}

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
