// Runs in the PARENT: the shared paths of a server, and the workers that joined there.

import type { EventEmitter } from 'node:events'
import { debug, diagnostics } from '../../diagnostics.js'
import { SocketServerError, systemError } from '../../errors.js'
import type { NativeServer, Notice } from '../../native.js'
import { report } from '../../report-error.js'
import type { ServerEvents } from '../events.js'
import type { Facts, PoolFacts } from '../observe/facts.js'
import type { RefusedInfo, ServerStats } from '../stats.js'
import { JoinedWorker } from '../worker/joined-worker.js'
import type { WorkerChannelPort } from '../worker/worker-channel.js'
import type { JoinedHandle, WorkerHandle, WorkerState } from '../worker/worker-handle.js'
import { Share } from './share.js'
import type { ShareSettings } from './share-options.js'

/** The methods of the native server that the shares call. */
export type SharesPort = WorkerChannelPort & Pick<NativeServer, 'share' | 'unshare'>

/** The methods of the supervisor that the shares call. */
export interface WorkerRegistry {
  /** Returns an id that no other worker of the server has. */
  takeId(): number
  readonly facts: Pick<Facts, 'addShare'>
  /** Publishes a worker's change of state. */
  changed(worker: WorkerHandle, from: WorkerState): void
}

export class Shares {
  readonly #events: EventEmitter<ServerEvents>
  readonly #native: SharesPort
  readonly #registry: WorkerRegistry
  readonly #shares = new Map<number, Share>()
  readonly #facts = new Map<number, PoolFacts>()
  readonly #workers = new Map<number, JoinedWorker>()
  #lastRefusal = { message: '', at: Number.NEGATIVE_INFINITY }

  /** `events` is the server, whose events the shares emit. */
  constructor(events: EventEmitter<ServerEvents>, native: SharesPort, registry: WorkerRegistry) {
    this.#events = events
    this.#native = native
    this.#registry = registry
  }

  /** Opens a shared path. Throws system errors as `net` reports them. */
  open({ drainTimeout, ...settings }: ShareSettings): Share {
    const { path } = settings
    const { share: number, error } = this.#native.share(settings)
    if (error) throw systemError(error, 'listen', { address: path, port: -1 })
    if (number === undefined) throw new TypeError('The binding returned neither a share nor an error')
    this.#facts.set(number, this.#registry.facts.addShare(path))
    const share = new Share(path, drainTimeout, {
      unshare: () => this.#native.unshare(number),
      closed: () => {
        this.#shares.delete(number)
        this.#facts.delete(number)
      },
    })
    this.#shares.set(number, share)
    return share
  }

  /** Returns the worker on this channel. */
  worker(channel: number): JoinedWorker | undefined {
    return this.#workers.get(channel)
  }

  admitted({ channel, share: number, pid, uid, gid }: Notice): void {
    const share = number === undefined ? undefined : this.#shares.get(number)
    if (channel === undefined || uid === undefined || gid === undefined) return
    if (share === undefined) {
      // The share was closed, and forgotten, before this notice arrived.
      this.#native.endChannel(channel)
      return
    }
    const facts = this.#facts.get(number ?? 0)
    const worker = new JoinedWorker({
      id: this.#registry.takeId(),
      channel,
      path: share.path,
      pid,
      uid,
      gid,
      native: this.#native,
      changed: (changed, from) => {
        facts?.changed(channel, changed)
        this.#registry.changed(changed, from)
      },
    })
    facts?.started(channel, worker)
    this.#workers.set(channel, worker)
    share.add(worker)
    void worker.exited.then(() => {
      this.#workers.delete(channel)
      this.#events.emit('exit', worker, null, null)
    })
  }

  joined(channel: number): void {
    const worker = this.#workers.get(channel)
    if (worker?.state !== 'starting') return
    worker.joined()
    this.#events.emit('worker', worker)
  }

  refused({ share: number, pid, uid, gid, reason, message = '' }: Notice): void {
    const share = number === undefined ? undefined : this.#shares.get(number)
    const known = REASONS.find((candidate) => candidate === reason)
    if (share === undefined || known === undefined) return
    const info: RefusedInfo = { path: share.path, pid, uid, gid, reason: known, message }
    debug('pid %d of user %d is refused at %s: %s', pid, uid, share.path, message)
    if (diagnostics.workerRefused.hasSubscribers) diagnostics.workerRefused.publish(info)
    if (known === 'version') this.#reportVersion(info)
    this.#events.emit('refused', info)
  }

  /** Adds the states of the joined workers to `states`. */
  count(states: ServerStats['states']): void {
    for (const { state } of this.#workers.values()) if (state !== 'exited') states[state] += 1
  }

  /** Retires all joined workers; each has `within(worker)` milliseconds. Resolves when all have exited. */
  async stop(within: (worker: JoinedHandle) => number): Promise<void> {
    await Promise.all(Array.from(this.#shares.values(), (share) => share.stop(within)))
  }

  /** Records that the native server has ended every channel. */
  kill(): void {
    for (const worker of this.#workers.values()) worker.channelEnded(worker.handled)
  }

  /** Reports that a program has no common protocol version. Reports this once, because a program may retry forever. */
  #reportVersion({ path, pid, uid, message }: RefusedInfo): void {
    const now = performance.now()
    const isNew = message !== this.#lastRefusal.message || now - this.#lastRefusal.at > EPISODE
    this.#lastRefusal = { message, at: now }
    if (!isNew) return
    const text = `A worker (pid ${pid}, uid ${uid}) was refused at ${path}: ${message}`
    report(this.#events, new SocketServerError('ERR_SOCKETSERVER_PROTOCOL', text, { pid, address: path }))
  }
}

const REASONS = ['not-allowed', 'full', 'late', 'version', 'protocol'] as const

/** Milliseconds in which the same refusal is not reported again, as for shortages in the core. */
const EPISODE = 10_000
