// Runs in a WORKER: its one channel to the parent, shared by the clients of the process or thread.

import { closeSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'
import { SocketServerError } from '../../errors.js'
import { KeepAlive } from '../../keep-alive.js'
import { beat, type NativeReceiver, openReceiver, type ReceiverPhase, restoreStderr } from '../../native.js'
import type { WorkerSettings } from '../../worker-settings.js'
import { HandBacks } from '../connection/hand-backs.js'
import { exchangeTable, ReceivedConnection } from '../connection/received-connection.js'
import { closedError, lostError } from '../lifecycle/close-errors.js'
import type { Lane } from './lane.js'
import { startThreadPool } from './thread-pool.js'

/**
 * The receiving end of a channel, and the lanes that connections leave it by. What opens it is its hello, and that is what
 * makes a worker ready: one that says by itself when it is keeps its hello until then, and has nothing to answer before.
 */
export class Channel {
  readonly settings: WorkerSettings
  readonly #listener: ChannelListener
  /** Ours until the native side has it, which closes it also if it cannot be opened. */
  #fd: number | undefined
  #receiver: NativeReceiver | undefined
  #countEnded: (() => boolean) | undefined
  readonly #lanes = new Set<Lane>()
  readonly #table = exchangeTable()
  readonly #returns = new HandBacks()
  /** Held while connections are on their way back: until the parent has them, this process has to live. */
  readonly #keepAlive = new KeepAlive()
  #phase: ReceiverPhase = { phase: 'joining' }
  #state: 'open' | 'leaving' | 'closed' = 'open'
  #pulse: NodeJS.Timeout | undefined

  /**
   * Owns `fd` from then on, unless it is a thread's. Throws if it is not a channel.
   */
  constructor(fd: number, settings: WorkerSettings, listener: ChannelListener) {
    this.#fd = fd
    this.settings = settings
    this.#listener = listener
    if (!settings.isReadyManual) this.open()
  }

  /** How far it has come, with the reason once it has ended. */
  get phase(): ReceiverPhase {
    return this.#phase
  }

  /** Whether the parent has ended it, or has died. */
  get isOver(): boolean {
    return (this.#receiver?.phase().phase ?? 'joining') === 'ended'
  }

  /** Whether this worker has left, or is leaving: then there is no way back. */
  get hasLeft(): boolean {
    return this.#state !== 'open'
  }

  /**
   * Says hello to the parent, once. Throws if the descriptor is not a channel. If the parent has died or has ended it in the
   * meantime, that is read from it as at any other time.
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
    // An event loop that turns shows it; one that is stuck does not, and is never woken for it.
    if (this.settings.beat > 0) this.#pulse = setInterval(() => beat(receiver), this.settings.beat).unref()
    for (const lane of this.#lanes) lane.pumpSoon()
  }

  /** Throws ERR_SOCKETSERVER_TOO_MANY_PORTS if no lane can be added for `port`. */
  assertRoom(port: number): void {
    let open = 0
    for (const lane of this.#lanes) if (!lane.isStopped) open += 1
    if (open >= MAX_LANES) throw tooManyPorts(port)
  }

  /** A lane that comes after the end hears of it as all do, once the running code has had its say. */
  add(lane: Lane): void {
    this.#lanes.add(lane)
    const { phase } = this.#phase
    if (phase !== 'retired' && phase !== 'ended') return
    process.nextTick(() => {
      lane.pump()
      lane.phaseChanged(this.#phase)
    })
  }

  /** See `NativeReceiver.exchange`. */
  exchange(lane: Lane, room: number, window: number): ReceivedConnection[] {
    if (this.#state === 'closed' || this.#receiver === undefined) return []
    const { port } = lane
    const successor = lane.isStopped ? this.#openLane(port) : undefined
    if (successor !== undefined) {
      // The port's connections and credit are those of a client that came later. It tells of ended leases, too.
      successor.pumpSoon()
      return []
    }
    const keeper = isMainThread ? undefined : this.#receiver
    const count = this.#receiver.exchange(port, room, window, this.#table)
    const taken: ReceivedConnection[] = []
    for (let index = 0; index < count; index++) taken.push(new ReceivedConnection(this.#table, index, keeper))
    return taken
  }

  /** Counts a lease as over; true if the parent waits for the next exchange to hear of it. */
  leaseEnded(): boolean {
    return this.#state !== 'closed' && this.#countEnded?.() === true
  }

  /** Hands a connection back to the parent; resolves when that has it. Throws if it stays here. */
  handBack(connection: ReceivedConnection): Promise<void> {
    if (this.#phase.phase === 'ended') throw lostError()
    if (this.#state === 'closed' || this.#receiver === undefined) throw closedError()
    const returned = this.#returns.begin(this.#receiver, connection)
    this.#keepAlive.hold()
    return returned
  }

  /** A lane takes nothing any more. When none does, what has come and was not taken goes back to the parent at once. */
  stopped(): void {
    if (this.#state !== 'open' || [...this.#lanes].some(({ isStopped }) => !isStopped)) return
    this.#state = 'leaving'
    this.#receiver?.leave()
  }

  /** The leases of a lane are over. After the last lane the channel ends. */
  remove(lane: Lane): void {
    this.#lanes.delete(lane)
    if (this.#lanes.size > 0) return
    this.#state = 'closed'
    clearInterval(this.#pulse)
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
    if (!this.#returns.isEmpty) {
      this.#returns.settle(this.#receiver)
      if (this.#returns.isEmpty) this.#keepAlive.release()
    }
    // Asking costs as much as three connections, so not at every wake.
    this.#change(hasChanged ? this.#receiver.phase() : this.#phase)
  }

  #change(phase: ReceiverPhase): void {
    const hasChanged = phase.phase !== this.#phase.phase
    this.#phase = phase
    // First what has come, then what has changed: a channel that is over may still hold connections.
    for (const lane of this.#lanes) lane.pump()
    if (!hasChanged) return
    if (phase.phase === 'ended') {
      this.#returns.end()
      this.#keepAlive.release()
    }
    for (const lane of this.#lanes) lane.phaseChanged(phase)
    this.#listener.phaseChanged?.(phase)
  }
}

/** What the owner of a channel is told. */
export interface ChannelListener {
  /** The phase has changed; the lanes have been told. */
  phaseChanged?(phase: ReceiverPhase): void
  /** Every lane has finished, and the channel is closed. `phase` is the last one before that. */
  closed?(phase: ReceiverPhase): void
}

/** Returns the error for a client of one port too many. */
export function tooManyPorts(port: number): SocketServerError {
  return new SocketServerError(
    'ERR_SOCKETSERVER_TOO_MANY_PORTS',
    `connect({ port: ${port} }): this worker has clients of ${MAX_LANES} ports, the most at one time; close one first`,
  )
}

/** Ports that a channel may have credit on at one time, as PROTOCOL.md limits them. */
export const MAX_LANES = 64
