// Runs in the PARENT: the pools of a server and all their workers, their events and their counters.

import type { EventEmitter } from 'node:events'
import type { ListenAddress } from '../../address.js'
import { debug, diagnostics } from '../../diagnostics.js'
import { SocketServerError } from '../../errors.js'
import type { NativeServer } from '../../native.js'
import { report } from '../../report-error.js'
import type { AdoptedListener, WorkerSettings } from '../../worker-settings.js'
import type { ServerEvents } from '../events.js'
import type { AppMetrics } from '../observe/app-metrics.js'
import type { Facts, PoolFacts, ReplacementReason } from '../observe/facts.js'
import type { CutInfo, ServerStats } from '../stats.js'
import { readinessOf } from '../worker/readiness.js'
import { SupervisedWorker, type SupervisedWorkerPort } from '../worker/supervised-worker.js'
import type { WorkerHandle, WorkerState } from '../worker/worker-handle.js'
import { runtimeName, type WorkerExit, type WorkerRuntime } from '../worker/worker-runtime.js'
import type { PoolSettings } from './pool-options.js'
import { beatOf } from './recycling.js'
import { isShortage } from './shortage.js'
import { type PoolSetup, WorkerPool } from './worker-pool.js'

/** Opens a channel and starts a process or thread. `failedToStart`: the previous worker of the slot exited before it was ready. */
export type StartRuntime = (
  settings: WorkerSettings,
  report: (error: Error) => void,
  failedToStart: boolean,
) => { channel: number; runtime: WorkerRuntime }

/** The parts of a server that its supervisor uses. */
export interface SupervisorSetup {
  /** The server, whose events the supervisor emits. */
  events: EventEmitter<ServerEvents>
  native: SupervisedWorkerPort & Pick<NativeServer, 'setSlots'>
  facts: Facts
  appMetrics: Pick<AppMetrics, 'addProcess' | 'addThread' | 'remove'>
  /** Names the server among those of this process. */
  name: string
  /** Returns the addresses of the listeners. */
  addresses: () => ListenAddress[]
  /** Returns the listeners that were adopted. */
  adopted: () => AdoptedListener[]
  /** Whether workers leave SIGINT and SIGTERM to this process. */
  ignoreSignals: boolean
}

/** The workers that a server started. */
export class Supervisor {
  readonly #setup: SupervisorSetup
  readonly #events: EventEmitter<ServerEvents>
  readonly #pools = new Set<WorkerPool>()
  readonly #workers = new Map<number, SupervisedWorker>()
  /** Exited workers by channel. The native thread may still report the end of such a channel. */
  readonly #exitedWorkers = new Map<number, SupervisedWorker>()
  /** The key of session ids and of the hashes of sticky listeners. */
  readonly sessionKey = crypto.getRandomValues(new Uint8Array(16))
  #nextPool = 0
  readonly #counts = { restarts: 0, reloads: 0, stalls: 0, cut: 0 }
  #isReferenced = true
  #isStopped = false
  #nextWorker = 1

  constructor(setup: SupervisorSetup) {
    this.#setup = setup
    this.#events = setup.events
  }

  /** Returns the worker on this channel, also shortly after its exit. */
  worker(channel: number): SupervisedWorker | undefined {
    return this.#workers.get(channel) ?? this.#exitedWorkers.get(channel)
  }

  /** Starts a pool. Throws the error of a failed start of its first workers. `closed` is called when the pool has closed. */
  startPool(
    entry: string,
    workers: number,
    settings: PoolSettings,
    startRuntime: StartRuntime,
    closed: () => void = () => {},
  ): WorkerPool {
    const facts = this.#setup.facts.addPool(entry)
    const firstSlot = this.#nextPool * SLOTS_OF_POOL
    this.#nextPool += 1
    const pool = new WorkerPool({
      entry,
      workers,
      settings,
      spawn: (...start) => this.#start(entry, settings, { facts, firstSlot }, startRuntime, start),
      report: (error) => report(this.#events, error),
      restarting: (generation, { delay, failures }, error, failed) => {
        this.#counts.restarts += 1
        facts.countReplacement(replacementReason(error, failed))
        debug('a worker of %s restarts in %d ms, after %d quick exits: %s', entry, delay, failures, error.message)
        if (diagnostics.poolRestart.hasSubscribers) {
          diagnostics.poolRestart.publish({ entry, generation, delay, failures, error })
        }
      },
      reloading: (generation, stage, error) => {
        if (stage === 'begun') this.#counts.reloads += 1
        facts.reloading(generation, stage)
        debug('generation %d of %s: reload %s', generation, entry, stage)
        if (diagnostics.poolReload.hasSubscribers) {
          diagnostics.poolReload.publish({ entry, generation, stage, error })
        }
      },
      stalled: (worker, stalledFor) => {
        facts.stalled(worker, stalledFor)
        this.#stalled(worker, stalledFor)
      },
      wasReady: () => facts.wasReady(),
      resized: (size) => {
        facts.resized(size)
        this.#setup.native.setSlots(firstSlot, size)
      },
      replaced: (reason) => facts.countReplacement(reason),
      closed,
    })
    pool.reference(this.#isReferenced)
    this.#pools.add(pool)
    return pool
  }

  /**
   * Retires all workers; each has `within(worker)` milliseconds. Resolves when all have exited and their channels have ended, so
   * that `cut` has been reported. The system reports an exit and the end of a channel in any order.
   */
  async stop(within: (worker: WorkerHandle) => number): Promise<void> {
    this.#isStopped = true
    const closing = [...this.#pools].map((pool) => pool.close())
    for (const worker of this.#workers.values()) worker.retire(within(worker))
    const all = [...this.#workers.values(), ...this.#exitedWorkers.values()]
    await Promise.all([...closing, ...all.map(({ exited, settled }) => Promise.all([exited, settled]))])
  }

  /** Kills all workers. The native server has been destroyed and reports no further ends of channels. */
  kill(): void {
    this.#isStopped = true
    for (const pool of this.#pools) void pool.close()
    for (const worker of this.#workers.values()) worker.kill()
    for (const worker of [...this.#workers.values(), ...this.#exitedWorkers.values()]) worker.settle()
  }

  /** Sets whether the workers keep the process alive. */
  reference(isReferenced: boolean): void {
    this.#isReferenced = isReferenced
    for (const pool of this.#pools) pool.reference(isReferenced)
  }

  /** Records that the worker on this channel has connected. */
  joined(channel: number): void {
    const worker = this.worker(channel)
    worker?.joined()
    if (worker?.state === 'ready') this.#events.emit('worker', worker)
  }

  /** What metrics show of the workers. */
  get facts(): Facts {
    return this.#setup.facts
  }

  /** Returns the id of the next worker. */
  takeId(): number {
    const id = this.#nextWorker
    this.#nextWorker += 1
    return id
  }

  /** Reports that a worker has changed its state. */
  changed(worker: WorkerHandle, from: WorkerState): void {
    const { id, state } = worker
    debug('worker %d (%s) is %s, was %s', id, runtimeName(worker), state, from)
    if (diagnostics.workerState.hasSubscribers) diagnostics.workerState.publish({ worker, from, to: state })
    this.#events.emit('transition', worker, from)
  }

  /** Reports connections that ended with their worker. */
  cut(worker: WorkerHandle, info: CutInfo): void {
    this.#counts.cut += info.connections
    this.#setup.facts.cut(worker, info)
    debug('worker %d (%s) cut %d connections: %s', worker.id, runtimeName(worker), info.connections, info.reason)
    if (diagnostics.workerCut.hasSubscribers) diagnostics.workerCut.publish({ worker, ...info })
    this.#events.emit('cut', worker, info)
  }

  /** Returns the part of the server's stats that concerns started workers. */
  stats(): Pick<ServerStats, 'states' | 'restarts' | 'reloads' | 'stalls' | 'cut'> {
    const states = { starting: 0, ready: 0, draining: 0 }
    for (const { state } of this.#workers.values()) if (state !== 'exited') states[state] += 1
    return { states, ...this.#counts }
  }

  #start(
    entry: string,
    pool: PoolSettings,
    { facts, firstSlot }: { facts: PoolFacts; firstSlot: number },
    startRuntime: StartRuntime,
    [slot, generation, restarts, failedToStart]: Parameters<PoolSetup['spawn']>,
  ): SupervisedWorker {
    if (this.#isStopped) {
      throw new SocketServerError('ERR_SOCKETSERVER_CLOSED', 'No worker was started: the server is closed')
    }
    const id = this.#nextWorker
    const settings: WorkerSettings = {
      id,
      server: this.#setup.name,
      slot,
      routedSlot: firstSlot + slot,
      sessionKey: Buffer.from(this.sessionKey).toString('base64'),
      generation,
      entry,
      isThread: false,
      isReadyManual: pool.isReadyManual,
      listenChannel: 0,
      readyWhen: pool.readyWhen,
      drainTimeout: pool.drainTimeout,
      killTimeout: pool.killTimeout,
      beat: beatOf(pool.stallTimeout),
      ignoreSignals: this.#setup.ignoreSignals,
      keptStderr: 0,
      listeners: this.#setup.addresses(),
      adopted: this.#setup.adopted(),
    }
    const { channel, runtime } = startRuntime(settings, (error) => report(this.#events, error), failedToStart)
    this.#nextWorker += 1
    const worker = new SupervisedWorker({
      id,
      slot,
      generation,
      restarts,
      entry,
      channel,
      runtime,
      native: this.#setup.native,
      readyTimeout: pool.readyTimeout,
      readiness: readinessOf(pool.readyWhen, pool.isReadyManual),
      drainTimeout: pool.drainTimeout,
      killTimeout: pool.killTimeout,
      isApp: pool.readyWhen !== '',
      changed: (changed, from) => {
        facts.changed(channel, changed)
        this.changed(changed, from)
      },
    })
    this.#workers.set(channel, worker)
    facts.started(channel, worker)
    if (runtime.process !== undefined) this.#setup.appMetrics.addProcess(id, entry, runtime.process)
    if (runtime.thread !== undefined) this.#setup.appMetrics.addThread(id, entry)
    debug('worker %d (%s) of %s starts, generation %d', id, runtimeName(runtime), entry, generation)
    // Not now: the caller can add listeners only after fork() or threads() has returned.
    process.nextTick(() => this.#events.emit('start', worker))
    void worker.exited.then((exit) => {
      facts.exited(worker, exit)
      this.#setup.appMetrics.remove(id)
      this.#exited(worker, exit)
    })
    return worker
  }

  #stalled(worker: SupervisedWorker, stalledFor: number): void {
    this.#counts.stalls += 1
    const info = { stalledFor, leases: worker.leases }
    debug('worker %d (%s) has not turned for %d ms', worker.id, runtimeName(worker), stalledFor)
    if (diagnostics.workerStall.hasSubscribers) diagnostics.workerStall.publish({ worker, ...info })
    this.#events.emit('stall', worker, info)
  }

  #exited(worker: SupervisedWorker, exit: WorkerExit): void {
    this.#workers.delete(worker.channel)
    this.#exitedWorkers.set(worker.channel, worker)
    setTimeout(() => this.#exitedWorkers.delete(worker.channel), EXITED_TIME).unref()
    // A process prints its uncaught error itself, to standard error.
    if (worker.thread !== undefined && exit.cause !== undefined && worker.uptime !== undefined) {
      report(this.#events, worker.exitError(exit))
    }
    this.#events.emit('exit', worker, exit.code, exit.signal)
  }
}

/** Returns why a worker has to be replaced. */
function replacementReason(error: Error, failed: SupervisedWorker | undefined): ReplacementReason {
  if (isShortage(error)) return 'shortage'
  if (failed?.uptime === undefined) return 'start'
  return error instanceof SocketServerError && error.signal !== undefined ? 'signal' : 'exit'
}

/** The most slots of a pool, for the numbers of slots within a server. */
const SLOTS_OF_POOL = 65_536

/** Milliseconds; by then the channel of an exited worker has ended. */
const EXITED_TIME = 5000
