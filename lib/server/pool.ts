import { hasCode, SocketServerError } from '../errors.js'
import { poolSize } from './fork-options.js'
import type { ForkedWorker, WorkerHandle } from './worker-handle.js'

/** The workers that one call started. */
export interface Pool {
  /**
   * Resolves when every worker that `fork()` started has connected. Rejects with ERR_SOCKETSERVER_WORKER_EXITED if one
   * exits before; if nobody has asked for `ready` by then, the server's `error` tells it instead.
   */
  readonly ready: Promise<void>
  /** Those whose process has not exited, oldest first. */
  readonly workers: readonly WorkerHandle[]
  /** How many there are meant to be. */
  readonly size: number
  /**
   * Changes how many there are, 0 to 65535. Upwards it resolves when the new ones have connected, and rejects with
   * ERR_SOCKETSERVER_WORKER_EXITED if one exits before, which the server's `error` tells too. Downwards the least busy
   * are retired, among equals the newest; it resolves when they have finished what they hold and have exited.
   */
  resize(size: number): Promise<void>
  /** Retires all of them; resolves when they have finished what they hold and have exited. */
  close(): Promise<void>
}

export interface PoolSetup {
  workers: number
  /** Starts one worker, or throws. */
  spawn: (generation: number) => ForkedWorker
  /** Told of a failure that nobody waits for. */
  report: (error: Error) => void
}

export class WorkerPool implements Pool {
  readonly #setup: PoolSetup
  readonly #workers = new Set<ForkedWorker>()
  readonly #ready: Promise<void>
  readonly #generation = 1
  #isReadyWatched = false
  #size = 0
  #closing: Promise<void> | undefined

  constructor(setup: PoolSetup) {
    this.#setup = setup
    try {
      this.#ready = connected(this.#start(setup.workers))
    } catch (error) {
      for (const worker of this.#workers) worker.kill()
      throw error
    }
    this.#size = setup.workers
    this.#ready.catch((error: Error) => {
      if (!this.#isReadyWatched && !hasCode(error, 'ERR_SOCKETSERVER_CLOSED')) setup.report(error)
    })
  }

  get ready(): Promise<void> {
    this.#isReadyWatched = true
    return this.#ready
  }

  get workers(): readonly ForkedWorker[] {
    return [...this.#workers].filter(({ state }) => state !== 'exited')
  }

  get size(): number {
    return this.#size
  }

  resize(size: number): Promise<void> {
    try {
      poolSize('size', size)
      if (this.#closing) throw closedError()
    } catch (error) {
      return Promise.reject(error)
    }
    this.#size = size
    const active = this.workers.filter(({ state }) => state === 'starting' || state === 'ready')
    if (size <= active.length) return this.#retire(idlestFirst(active).slice(0, active.length - size))
    const grown = this.#grow(size - active.length)
    // A resize() in a signal handler is one that nobody waits for: `error` tells of it, and the process lives.
    grown.catch(() => {})
    return grown
  }

  close(): Promise<void> {
    this.#size = 0
    this.#closing ??= this.#retire(this.workers)
    return this.#closing
  }

  async #grow(count: number): Promise<void> {
    try {
      await connected(this.#start(count))
    } catch (error) {
      if (error instanceof Error && !hasCode(error, 'ERR_SOCKETSERVER_CLOSED')) this.#setup.report(error)
      throw error
    }
  }

  #start(count: number): ForkedWorker[] {
    return Array.from({ length: count }, () => {
      const worker = this.#setup.spawn(this.#generation)
      this.#workers.add(worker)
      void worker.exited.then(() => this.#exited(worker))
      return worker
    })
  }

  async #retire(workers: readonly ForkedWorker[]): Promise<void> {
    for (const worker of workers) worker.retire()
    await Promise.all(workers.map(({ exited }) => exited))
  }

  /** The one place that learns of a worker's end; whatever replaces workers decides here. */
  #exited(worker: ForkedWorker): void {
    this.#workers.delete(worker)
  }
}

function closedError(): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CLOSED', 'The pool is closed: resize() comes too late')
}

async function connected(workers: readonly ForkedWorker[]): Promise<void> {
  await Promise.all(workers.map((worker) => worker.connected))
}

function idlestFirst(workers: readonly ForkedWorker[]): ForkedWorker[] {
  const order = workers.map((worker) => ({ worker, starting: worker.state === 'starting', leases: worker.leases }))
  order.sort((a, b) => Number(b.starting) - Number(a.starting) || a.leases - b.leases || b.worker.id - a.worker.id)
  return order.map(({ worker }) => worker)
}
