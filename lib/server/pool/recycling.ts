import type { SupervisedWorker } from '../worker/supervised-worker.js'
import type { PoolSettings } from './pool-options.js'
import { residentMemory } from './resident-memory.js'

/** Whoever owns the workers that are looked at. */
export interface RecyclingHost {
  workers(): readonly SupervisedWorker[]
  /** Has a worker be replaced; false if its replacement could not be started. */
  replace(worker: SupervisedWorker, why: string): Promise<boolean>
  stalled(worker: SupervisedWorker, stalledFor: number): void
}

/**
 * Looks at each ready worker of a pool, once a second or as often as `stallTimeout` needs: whether it is old, has done
 * enough, is too large, or is stuck. Replaces one at a time, so that a pool that was started at once does not go at once.
 */
export class Recycling {
  readonly #settings: PoolSettings
  readonly #host: RecyclingHost
  readonly #records = new WeakMap<SupervisedWorker, Record>()
  readonly #timer: NodeJS.Timeout | undefined
  #isReplacing = false

  constructor(settings: PoolSettings, host: RecyclingHost) {
    this.#settings = settings
    this.#host = host
    const { maxConnections, maxLifetime, maxMemory, stallTimeout } = settings
    const isLimited = [maxConnections, maxLifetime, maxMemory].some(Number.isFinite)
    if (!isLimited && stallTimeout === 0) return
    const period = stallTimeout === 0 ? PERIOD : Math.min(PERIOD, beatOf(stallTimeout))
    this.#timer = setInterval(() => this.#check(), period).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #check(): void {
    for (const worker of this.#host.workers()) {
      if (worker.state !== 'ready') continue
      const record = this.#recordOf(worker)
      const stall = this.#stallOf(worker, record)
      if (stall !== undefined) void this.#replace(worker, record, stall)
      else void this.#recycle(worker, record)
    }
  }

  async #recycle(worker: SupervisedWorker, record: Record): Promise<void> {
    const { maxConnections, maxMemory } = this.#settings
    if ((worker.uptime ?? 0) >= record.lifetime) await this.#replace(worker, record, 'has reached maxLifetime')
    else if (worker.handled >= maxConnections) await this.#replace(worker, record, 'has reached maxConnections')
    else if (Number.isFinite(maxMemory) && performance.now() >= record.weighedAt + PERIOD) {
      record.weighedAt = performance.now()
      const memory = worker.pid === undefined ? undefined : await residentMemory(worker.pid)
      if (memory !== undefined && memory > maxMemory) await this.#replace(worker, record, 'has exceeded maxMemory')
    }
  }

  async #replace(worker: SupervisedWorker, record: Record, why: string): Promise<void> {
    if (this.#isReplacing || performance.now() < record.notBefore || worker.state !== 'ready') return
    this.#isReplacing = true
    const isReplaced = await this.#host.replace(worker, why)
    this.#isReplacing = false
    if (!isReplaced) record.notBefore = performance.now() + RETRY_DELAY
  }

  /** Tells of a stall, once; why the worker is to be replaced if that is wanted. */
  #stallOf(worker: SupervisedWorker, record: Record): string | undefined {
    const { stallTimeout, replaceStalled } = this.#settings
    const { beats } = worker
    if (stallTimeout === 0 || beats === undefined) return undefined
    const now = performance.now()
    if (beats !== record.beats) {
      record.beats = beats
      record.beatAt = now
      record.isStalled = false
      return undefined
    }
    const stalledFor = now - record.beatAt
    if (stalledFor < stallTimeout) return undefined
    if (!record.isStalled) this.#host.stalled(worker, Math.round(stalledFor))
    record.isStalled = true
    return replaceStalled ? `has been stuck for ${Math.round(stalledFor)} ms` : undefined
  }

  #recordOf(worker: SupervisedWorker): Record {
    const known = this.#records.get(worker)
    if (known !== undefined) return known
    const record = {
      lifetime: this.#settings.maxLifetime * (1 - LIFETIME_JITTER * Math.random()),
      beats: undefined,
      beatAt: performance.now(),
      isStalled: false,
      weighedAt: 0,
      notBefore: 0,
    }
    this.#records.set(worker, record)
    return record
  }
}

/** Milliseconds between two beats of a worker, so that four or more fit `stallTimeout`; 0 is none. */
export function beatOf(stallTimeout: number): number {
  return stallTimeout === 0 ? 0 : Math.max(1, Math.min(PERIOD, Math.floor(stallTimeout / 4)))
}

/** What is remembered of a worker from round to round; times by `performance.now()`. */
interface Record {
  /** Milliseconds. */
  lifetime: number
  beats: number | undefined
  /** When `beats` had changed. */
  beatAt: number
  isStalled: boolean
  weighedAt: number
  /** When its replacement may be tried again. */
  notBefore: number
}

const PERIOD = 1000
const LIFETIME_JITTER = 0.1
/** As long as a crash loop waits. */
const RETRY_DELAY = 30_000
