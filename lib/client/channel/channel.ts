// Runs in a WORKER: its channel to the parent, which all clients of the process or thread share.

import { closeSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'
import { fromNative, type ListenAddress } from '../../address.js'
import { SocketServerError } from '../../errors.js'
import { KeepAlive } from '../../keep-alive.js'
import {
  beat,
  type ListenerAddress,
  type NativeReceiver,
  openReceiver,
  type ReceiverPhase,
  restoreStderr,
} from '../../native.js'
import type { WorkerSettings } from '../../worker-settings.js'
import { HandBacks } from '../connection/hand-backs.js'
import { exchangeTable, ReceivedConnection } from '../connection/received-connection.js'
import { closedError, lostError } from '../lifecycle/close-errors.js'
import type { Lane } from './lane.js'
import { startThreadPool } from './thread-pool.js'

/**
 * The worker's end of a channel, and its lanes. Opening it sends HELLO, which makes the worker ready. With `ready: 'manual'` the
 * channel therefore opens only when the application calls `client.ready()`.
 */
export class Channel {
  readonly settings: WorkerSettings
  readonly #listener: ChannelListener
  /** Undefined once the native receiver owns the descriptor. The receiver closes it even if it cannot open the channel. */
  #fd: number | undefined
  #receiver: NativeReceiver | undefined
  #countEnded: ((lasted: number) => boolean) | undefined
  readonly #lanes = new Set<Lane>()
  readonly #table = exchangeTable()
  readonly #handBacks = new HandBacks()
  /** Held while hand-backs are pending: the process must live until the parent has the connections. */
  readonly #keepAlive = new KeepAlive()
  #phase: ReceiverPhase = { phase: 'joining' }
  #listeners: readonly ListenAddress[]
  #awaitsListeners: boolean
  #state: 'open' | 'leaving' | 'closed' = 'open'
  #heartbeat: NodeJS.Timeout | undefined

  /** Takes ownership of `fd`, except in a thread. Throws if `fd` is not a channel. */
  constructor(fd: number, settings: WorkerSettings, listener: ChannelListener) {
    this.#fd = fd
    this.settings = settings
    this.#listener = listener
    this.#listeners = settings.listeners
    // A worker with `ready: 'manual'` may call ready() on `listening`, which therefore cannot wait for WELCOME.
    this.#awaitsListeners = !settings.isReadyManual
    if (!settings.isReadyManual) this.open()
  }

  /** The phase of the channel, with the reason once it has ended. */
  get phase(): ReceiverPhase {
    return this.#phase
  }

  /** The addresses of the server's listeners that are known. */
  get listeners(): readonly ListenAddress[] {
    return this.#listeners
  }

  /** Whether the address of a listener that is not known may still arrive. */
  get awaitsListeners(): boolean {
    return this.#awaitsListeners
  }

  /** Whether `open()` has been called. */
  get isOpen(): boolean {
    return this.#receiver !== undefined
  }

  /** The TLS ticket keys that all workers of the server share. They arrive before the first connection. */
  get ticketKeys(): Buffer | undefined {
    return this.#receiver?.ticketKeys() ?? undefined
  }

  /** Whether the parent has ended the channel or died. */
  get isOver(): boolean {
    return (this.#receiver?.phase().phase ?? 'joining') === 'ended'
  }

  /** Whether this worker has left or is leaving, which is final. */
  get hasLeft(): boolean {
    return this.#state !== 'open'
  }

  /**
   * Sends HELLO to the parent, once. Throws if the descriptor is not a channel. If the parent has died or ended the channel
   * meanwhile, the phase shows it later.
   */
  open(): void {
    const fd = this.#fd
    if (fd === undefined || this.#state !== 'open') return
    this.#fd = undefined
    startThreadPool()
    const owner = { borrowed: this.settings.isThread, keeps: !isMainThread }
    const receiver = openReceiver(fd, owner, (hasChanged) => this.#wake(hasChanged))
    this.#receiver = receiver
    this.#countEnded = receiver.leaseCounter()
    if (this.settings.keptStderr > 0) restoreStderr(this.settings.keptStderr)
    // The heartbeat stops while the event loop is blocked. It does not keep the process alive.
    if (this.settings.beat > 0) this.#heartbeat = setInterval(() => beat(receiver), this.settings.beat).unref()
    for (const lane of this.#lanes) lane.pumpSoon()
  }

  /** Throws ERR_SOCKETSERVER_TOO_MANY_PORTS if no lane can be added for `port`. */
  assertLaneAvailable(port: number): void {
    let open = 0
    for (const lane of this.#lanes) if (!lane.isStopped) open += 1
    if (open >= MAX_LANES) throw tooManyPorts(port)
  }

  /** Adds a lane. A lane that is added after the end is notified in the next tick. */
  add(lane: Lane): void {
    this.#lanes.add(lane)
    const { phase } = this.#phase
    if (phase !== 'retired' && phase !== 'ended') return
    process.nextTick(() => {
      lane.pump()
      lane.phaseChanged(this.#phase)
    })
  }

  /** Exchanges connections and credit for a lane; see `NativeReceiver.exchange`. */
  exchange(lane: Lane, room: number, window: number): ReceivedConnection[] {
    if (this.#state === 'closed' || this.#receiver === undefined) return []
    const { port } = lane
    const successor = lane.isStopped ? this.#openLane(port) : undefined
    if (successor !== undefined) {
      // A later client of the same port owns the port's connections and credit. Its lane also reports ended leases.
      successor.pumpSoon()
      return []
    }
    const receiver = this.#receiver
    const keeper = isMainThread ? undefined : receiver
    const count = receiver.exchange(port, room, window, this.#table)
    if (count === 0) return []
    const taken: ReceivedConnection[] = []
    const takenAt = performance.now()
    for (let index = 0; index < count; index++) {
      taken.push(new ReceivedConnection(this.#table, index, keeper, takenAt, receiver))
    }
    return taken
  }

  /** Counts a lease that has ended after `lasted` milliseconds. Returns whether the parent waits for the next exchange, which reports it. */
  leaseEnded(lasted: number): boolean {
    return this.#state !== 'closed' && this.#countEnded?.(lasted) === true
  }

  /** Adds a tracked connection whose lease has ended to the next exchange, which reports it. */
  trackedEnded(id: number): void {
    if (this.#state !== 'closed') this.#receiver?.trackedEnded(id)
  }

  /** Hands a connection back to the parent. Resolves when the parent has it. Throws if the connection stays here. */
  handBack(connection: ReceivedConnection): Promise<void> {
    if (this.#phase.phase === 'ended') throw lostError()
    if (this.#state === 'closed' || this.#receiver === undefined) throw closedError()
    const handedBack = this.#handBacks.begin(this.#receiver, connection)
    this.#keepAlive.hold()
    return handedBack
  }

  /** Records that a lane has stopped. After the last one, untaken connections return to the parent at once. */
  stopped(): void {
    if (this.#state !== 'open' || [...this.#lanes].some(({ isStopped }) => !isStopped)) return
    this.#state = 'leaving'
    this.#receiver?.leave()
  }

  /** Removes a lane without leases. After the last one the channel closes. */
  remove(lane: Lane): void {
    this.#lanes.delete(lane)
    if (this.#lanes.size > 0) return
    this.#state = 'closed'
    clearInterval(this.#heartbeat)
    this.#keepAlive.release()
    this.#receiver?.close()
    if (this.#fd !== undefined && !this.settings.isThread) closeSync(this.#fd)
    this.#listener.closed?.(this.#phase)
  }

  #openLane(port: number): Lane | undefined {
    for (const lane of this.#lanes) if (lane.port === port && !lane.isStopped) return lane
    return undefined
  }

  #wake(hasChanged: boolean): void {
    if (this.#state === 'closed' || this.#receiver === undefined) return
    if (!this.#handBacks.isEmpty) {
      this.#handBacks.settle(this.#receiver)
      if (this.#handBacks.isEmpty) this.#keepAlive.release()
    }
    // Before the connections: a served server listens before it gets its first connection.
    if (hasChanged) this.#learnListeners(this.#receiver.listeners())
    // Reading the phase costs as much as three connections, so only when it has changed.
    this.#update(hasChanged ? this.#receiver.phase() : this.#phase)
  }

  /** Takes the addresses that the server has sent; null if its version of the protocol sends none. */
  #learnListeners(sent: ListenerAddress[] | null): void {
    if (sent === null ? !this.#awaitsListeners : sent.length === 0) return
    if (sent !== null) this.#listeners = sent.map(fromNative)
    // The server sends no more than that.
    if (sent === null || sent.length >= MAX_LISTENERS) this.#awaitsListeners = false
    for (const lane of this.#lanes) lane.listenersChanged()
  }

  #update(phase: ReceiverPhase): void {
    const hasChanged = phase.phase !== this.#phase.phase
    this.#phase = phase
    // Take connections before reporting the phase: a channel that has ended may still hold some.
    for (const lane of this.#lanes) lane.pump()
    if (!hasChanged) return
    if (phase.phase === 'ended') {
      this.#handBacks.end()
      this.#keepAlive.release()
    }
    for (const lane of this.#lanes) lane.phaseChanged(phase)
    this.#listener.phaseChanged?.(phase)
  }
}

/** The callbacks of a channel's owner. */
export interface ChannelListener {
  /** Called when the phase has changed, after the lanes. */
  phaseChanged?(phase: ReceiverPhase): void
  /** Called when every lane has finished and the channel is closed. `phase` is the last one. */
  closed?(phase: ReceiverPhase): void
}

/** Returns the error of `connect()` for one port too many. */
export function tooManyPorts(port: number): SocketServerError {
  return new SocketServerError(
    'ERR_SOCKETSERVER_TOO_MANY_PORTS',
    `connect({ port: ${port} }) failed: this worker has clients for ${MAX_LANES} ports, the most at a time; close one first`,
  )
}

/** The most ports with credit on one channel, as PROTOCOL.md limits them. */
export const MAX_LANES = 64

/** The most listeners of which a worker learns, as PROTOCOL.md limits them. */
const MAX_LISTENERS = 256
