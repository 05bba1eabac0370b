// Reports facts that only JavaScript knows to the native server at each change. So metrics and probes never wait for JavaScript.

import { basename } from 'node:path'
import type { NativeServer } from '../../native.js'
import type { CutInfo, ShedInfo } from '../stats.js'
import type { WorkerHandle } from '../worker/worker-handle.js'

/** The methods of the native server that report facts. */
export type FactsPort = Pick<
  NativeServer,
  'setPool' | 'poolWasReady' | 'assign' | 'setWorker' | 'removeWorker' | 'count' | 'addEvent'
>

/** The reason for which a worker was replaced: the kind of its exit, or the limit that the worker had reached. */
export type ReplacementReason =
  | 'exit'
  | 'signal'
  | 'start'
  | 'shortage'
  | 'max_lifetime'
  | 'max_connections'
  | 'max_memory'
  | 'stalled'

/** The facts of one server. */
export class Facts {
  readonly #native: FactsPort
  readonly #labels = new Set<string>()
  readonly #pools = new WeakMap<WorkerHandle, PoolFacts>()
  /** Connections that were shed since the last event about shed connections. */
  #shed = 0
  #shedAt = Number.NEGATIVE_INFINITY

  constructor(native: FactsPort) {
    this.#native = native
  }

  /** Adds a pool, labelled with the name of its entry. A second pool with the same name gets a number. */
  addPool(entry: string): PoolFacts {
    const name = basename(entry)
    let label = name
    for (let number = 2; this.#labels.has(label); number++) label = `${name}#${number}`
    for (const reason of ['exit', 'signal', 'start', 'shortage']) this.#native.count('restarts', label, reason, 0)
    for (const result of ['done', 'failed']) this.#native.count('reloads', label, result, 0)
    this.#native.count('stalls', label, '', 0)
    return this.#add(label)
  }

  /** Adds a shared path, whose programs are one group. The group continues if the path is shared again. */
  addShare(path: string): PoolFacts {
    const label = path.replace(/^\0/, '@')
    this.#native.setPool(label, 0)
    return this.#add(label)
  }

  /** Counts connections that were cut because their worker ended. */
  cut(worker: WorkerHandle, { reason, connections }: CutInfo): void {
    const pool = this.#pools.get(worker)
    if (pool === undefined) return
    this.#native.count('cut', pool.label, reason, connections)
    this.event('cut', `${nameOf(worker, pool.label)} took ${plural(connections)} with it: ${reason}`)
  }

  /** Records that a connection was shed. Adds at most one event per second. */
  shed({ reason }: ShedInfo): void {
    this.#shed += 1
    const now = performance.now()
    if (now - this.#shedAt < SHED_PERIOD) return
    this.event('shed', `${plural(this.#shed)} reset before a worker took them: ${reason}`)
    this.#shed = 0
    this.#shedAt = now
  }

  /** Records only the code of an error, because a message may contain addresses. */
  failed(error: Error): void {
    this.event('error', 'code' in error && typeof error.code === 'string' ? error.code : error.name)
  }

  /** Adds a recent event. `text` must not contain addresses of clients, arguments or variables. */
  event(kind: string, text: string): void {
    this.#native.addEvent(new Date().toISOString(), kind, text)
  }

  #add(label: string): PoolFacts {
    this.#labels.add(label)
    for (const reason of ['exited', 'timeout', 'protocol']) this.#native.count('cut', label, reason, 0)
    return new PoolFacts(this.#native, label, this, (worker, pool) => this.#pools.set(worker, pool))
  }
}

/** The facts of one pool, or of the programs that joined at one shared path. */
export class PoolFacts {
  readonly label: string
  readonly #native: FactsPort
  readonly #facts: Facts
  readonly #register: (worker: WorkerHandle, pool: PoolFacts) => void

  constructor(
    native: FactsPort,
    label: string,
    facts: Facts,
    register: (worker: WorkerHandle, pool: PoolFacts) => void,
  ) {
    this.#native = native
    this.label = label
    this.#facts = facts
    this.#register = register
  }

  /** Records the number of slots. */
  resized(size: number): void {
    this.#native.setPool(this.label, size)
  }

  /** Records that all workers of the first start have become ready. */
  wasReady(): void {
    this.#native.poolWasReady(this.label)
  }

  /** Records a new worker. Its slot counts the connections of the worker from now on. */
  started(channel: number, worker: WorkerHandle): void {
    this.#register(worker, this)
    this.#native.assign(channel, this.label, worker.slot)
    this.changed(channel, worker)
  }

  /** Records the state of a worker. */
  changed(channel: number, { id, slot, pid, generation, state, since, restarts }: WorkerHandle): void {
    if (state === 'exited') {
      this.#native.removeWorker(channel)
      return
    }
    this.#native.setWorker(channel, {
      pool: this.label,
      id,
      generation,
      state,
      since: since.toISOString(),
      restarts,
      ...(slot === undefined ? {} : { slot }),
      ...(pid === undefined ? {} : { pid }),
    })
  }

  /** Records the exit of a worker. */
  exited(worker: WorkerHandle, { code, signal }: { code: number | null; signal: string | null }): void {
    const how =
      signal !== null ? `was killed by ${signal}` : code === null ? 'could not be started' : `exited with code ${code}`
    this.#facts.event(code === 0 ? 'exit' : 'crash', `${nameOf(worker, this.label)} ${how}`)
  }

  /** Counts the start of a worker that replaces another one. */
  countReplacement(reason: ReplacementReason): void {
    this.#native.count('restarts', this.label, reason, 1)
  }

  /** Records a stage of a reload. */
  reloading(generation: number, stage: 'begun' | 'ready' | 'done' | 'failed'): void {
    if (stage === 'done' || stage === 'failed') this.#native.count('reloads', this.label, stage, 1)
    this.#facts.event('reload', `generation ${generation} of ${this.label}: ${stage}`)
  }

  /** Records a stall. */
  stalled(worker: WorkerHandle, stalledFor: number): void {
    this.#native.count('stalls', this.label, '', 1)
    this.#facts.event('stall', `${nameOf(worker, this.label)} has not turned for ${stalledFor} ms`)
  }
}

function plural(connections: number): string {
  return connections === 1 ? '1 connection' : `${connections} connections`
}

function nameOf({ slot, pid, threadId }: WorkerHandle, pool: string): string {
  const body = threadId === undefined ? `pid ${pid}` : `thread ${threadId}`
  return slot === undefined ? `a worker at ${pool} (${body})` : `slot ${slot} of ${pool} (${body})`
}

/** Milliseconds. */
const SHED_PERIOD = 1000
