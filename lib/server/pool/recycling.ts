import { jittered } from '../../backoff.js'
import type { SupervisedWorker } from '../worker/supervised-worker.js'
import type { PoolSettings } from './pool-options.js'
import { residentMemory } from './resident-memory.js'

/** The methods of a pool that recycling calls. */
export interface RecyclingHost {
  workers(): readonly SupervisedWorker[]
  /** Replaces a worker; `sentence` is the reason. Resolves to false if the replacement did not become ready. */
  replace(worker: SupervisedWorker, reason: RecyclingReason, sentence: string): Promise<boolean>
  /** Called once per stall, with the milliseconds since the event loop last turned. */
  stalled(worker: SupervisedWorker, stalledFor: number): void
}

/** The limit that a worker has reached. */
export type RecyclingReason = 'max_lifetime' | 'max_connections' | 'max_memory' | 'stalled'

/**
 * Checks every ready worker of a pool, once a second or as often as `stallTimeout` needs, against the limits of age,
 * connections, memory and stall. Replaces one worker at a time, because workers that started together reach a limit together.
 */
export class Recycling {
  readonly #settings: PoolSettings
  readonly #host: RecyclingHost
  readonly #health = new WeakMap<SupervisedWorker, Health>()
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

  /** Stops the checks. */
  stop(): void {
    clearInterval(this.#timer)
  }

  #check(): void {
    for (const worker of this.#host.workers()) {
      if (worker.state !== 'ready') continue
      const health = this.#healthOf(worker)
      const stall = this.#checkStall(worker, health)
      if (stall !== undefined) void this.#replace(worker, health, 'stalled', stall)
      else void this.#checkLimits(worker, health)
    }
  }

  async #checkLimits(worker: SupervisedWorker, health: Health): Promise<void> {
    const { lifetime, connections, memory } = health.limits
    if ((worker.uptime ?? 0) >= lifetime) {
      await this.#replace(worker, health, 'max_lifetime', 'has reached maxLifetime')
    } else if (worker.handled >= connections) {
      await this.#replace(worker, health, 'max_connections', 'has reached maxConnections')
    } else if (Number.isFinite(memory) && performance.now() >= health.memoryReadAt + PERIOD) {
      health.memoryReadAt = performance.now()
      const resident = worker.pid === undefined ? undefined : await residentMemory(worker.pid)
      if (resident !== undefined && resident > memory) {
        await this.#replace(worker, health, 'max_memory', 'has exceeded maxMemory')
      }
    }
  }

  async #replace(worker: SupervisedWorker, health: Health, reason: RecyclingReason, sentence: string): Promise<void> {
    if (this.#isReplacing || performance.now() < health.retryAt || worker.state !== 'ready') return
    this.#isReplacing = true
    const isReplaced = await this.#host.replace(worker, reason, sentence)
    this.#isReplacing = false
    if (!isReplaced) health.retryAt = performance.now() + RETRY_DELAY
  }

  /** Reports a new stall. Returns the reason to replace a stalled worker, with `replaceStalled`. */
  #checkStall(worker: SupervisedWorker, health: Health): string | undefined {
    const { stallTimeout, replaceStalled } = this.#settings
    const { beats } = worker
    if (stallTimeout === 0 || beats === undefined) return undefined
    const now = performance.now()
    if (beats !== health.beats) {
      health.beats = beats
      health.beatAt = now
      health.isStalled = false
      return undefined
    }
    const stalledFor = now - health.beatAt
    if (stalledFor < stallTimeout) return undefined
    if (!health.isStalled) this.#host.stalled(worker, Math.round(stalledFor))
    health.isStalled = true
    return replaceStalled ? `has been stalled for ${Math.round(stalledFor)} ms` : undefined
  }

  #healthOf(worker: SupervisedWorker): Health {
    const known = this.#health.get(worker)
    if (known !== undefined) return known
    const health = {
      limits: jitteredLimits(this.#settings, Math.random()),
      beats: undefined,
      beatAt: performance.now(),
      isStalled: false,
      memoryReadAt: 0,
      retryAt: 0,
    }
    this.#health.set(worker, health)
    return health
  }
}

/** The limits of one worker. */
export interface RecyclingLimits {
  /** Milliseconds since the worker was ready. */
  lifetime: number
  connections: number
  /** Bytes. */
  memory: number
}

/**
 * Returns the limits of one worker: those of the pool, less up to 10 %. Workers with the same load would otherwise reach a limit
 * together, and the last of them would exceed it while it waits for its replacement. `random` is in [0, 1).
 */
export function jitteredLimits(
  { maxLifetime, maxConnections, maxMemory }: Pick<PoolSettings, 'maxLifetime' | 'maxConnections' | 'maxMemory'>,
  random: number,
): RecyclingLimits {
  const limit = (most: number): number => Math.max(1, jittered(most, LIMIT_JITTER, random))
  return { lifetime: limit(maxLifetime), connections: limit(maxConnections), memory: limit(maxMemory) }
}

/** Returns the milliseconds between two heartbeats, such that at least four fit `stallTimeout`; 0 means no heartbeats. */
export function beatOf(stallTimeout: number): number {
  return stallTimeout === 0 ? 0 : Math.max(1, Math.min(PERIOD, Math.floor(stallTimeout / 4)))
}

/** The results of earlier checks of a worker. Times are those of `performance.now()`. */
interface Health {
  limits: RecyclingLimits
  /** The heartbeats that the last check has seen. */
  beats: number | undefined
  /** When a check last saw a new heartbeat. */
  beatAt: number
  isStalled: boolean
  memoryReadAt: number
  /** When the worker may be replaced after a failed attempt. */
  retryAt: number
}

/** Milliseconds. */
const PERIOD = 1000
/** The part of a limit that jitter may take off. */
const LIMIT_JITTER = 0.1
/** Milliseconds; the longest delay of a crash loop. */
const RETRY_DELAY = 30_000
