import { SocketServerError } from '../../errors.js'
import { integer, optionsObject } from '../../validate.js'
import type { Slot } from './slot.js'

/** Options of `pool.reload()`. */
export interface ReloadOptions {
  /** How many workers of the old generation are retired at a time, at least 1. Default: a quarter of the pool, rounded up. */
  atOnce?: number | undefined
}

/** The settings of a reload, and the functions of the pool that the reload calls. */
export interface ReloadSetup {
  /** Returns the slots whose workers are to be replaced. */
  slots: () => Slot[]
  /** Begins a generation, to which all workers belong that start from now on. Throws if the pool is closed. */
  nextGeneration: () => number
  isClosed: () => boolean
  drainTimeout: number
  /** Called at each stage of a reload. */
  progress: (generation: number, stage: 'begun' | 'ready' | 'done' | 'failed', error?: unknown) => void
}

/** The reloads of a pool. One runs at a time; calls during a reload are combined into one further reload. */
export class Reload {
  readonly #setup: ReloadSetup
  #running: Promise<void> | undefined
  #queued: Promise<void> | undefined
  #queuedOptions: ReloadOptions = {}

  constructor(setup: ReloadSetup) {
    this.#setup = setup
  }

  get isRunning(): boolean {
    return this.#running !== undefined
  }

  /** Requests a reload. Settles with a reload that began after this call. */
  async request(options: ReloadOptions): Promise<void> {
    optionsObject('options', options, ['atOnce'])
    if (options.atOnce !== undefined) integer('options.atOnce', options.atOnce, 1, 2 ** 31 - 1)
    if (this.#running === undefined) return this.#begin(options)
    this.#queuedOptions = options
    this.#queued ??= this.#afterwards(this.#running)
    return this.#queued
  }

  async #afterwards(running: Promise<void>): Promise<void> {
    // The caller of that reload handles its error.
    await running.catch(() => {})
    this.#queued = undefined
    return this.#begin(this.#queuedOptions)
  }

  #begin(options: ReloadOptions): Promise<void> {
    const running = this.#run(options).finally(() => {
      if (this.#running === running) this.#running = undefined
    })
    this.#running = running
    return running
  }

  async #run({ atOnce }: ReloadOptions): Promise<void> {
    const generation = this.#setup.nextGeneration()
    const { progress } = this.#setup
    progress(generation, 'begun')
    const slots = this.#setup.slots()
    try {
      await this.#prepare(slots)
    } catch (error) {
      for (const slot of slots) slot.abandon()
      progress(generation, 'failed', error)
      throw error
    }
    // From here on the pool supervises the new generation. The old workers serve until they are retired.
    const old = slots.map((slot) => slot.promote()).filter((worker) => worker !== undefined)
    progress(generation, 'ready')
    const batch = atOnce ?? Math.ceil(old.length / 4)
    while (old.length > 0) {
      await Promise.all(
        old.splice(0, batch).map((worker) => {
          worker.retire(this.#setup.drainTimeout)
          return worker.exited
        }),
      )
    }
    progress(generation, 'done')
  }

  async #prepare(slots: readonly Slot[]): Promise<void> {
    await Promise.all(
      slots.map(async (slot) => {
        // A replacement that is starting belongs to the old generation, too.
        await slot.replacing?.catch(() => {})
        try {
          await slot.prepare()
        } catch (error) {
          // A slot that was vacated meanwhile needs no successor.
          if (!slot.isVacated) throw error
        }
      }),
    )
    if (this.#setup.isClosed()) throw reloadError('ERR_SOCKETSERVER_CLOSED', 'The pool was closed during the reload')
    if (slots.some((slot) => !slot.isVacated && !slot.hasSuccessor)) {
      const message = 'A worker of the new generation exited before all of it was ready'
      throw reloadError('ERR_SOCKETSERVER_WORKER_EXITED', message)
    }
  }
}

function reloadError(code: 'ERR_SOCKETSERVER_CLOSED' | 'ERR_SOCKETSERVER_WORKER_EXITED', message: string): Error {
  return new SocketServerError(code, message)
}
