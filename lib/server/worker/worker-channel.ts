import type { NativeServer } from '../../native.js'

/** The methods of the native server that the channel of a worker calls. */
export type WorkerChannelPort = Pick<NativeServer, 'channelStats' | 'utilization' | 'retire' | 'endChannel'>

/** The channel of one worker in the parent: its counters, which outlive it, and its end. */
export class WorkerChannel {
  readonly number: number
  readonly #native: WorkerChannelPort
  #handled = 0

  constructor(native: WorkerChannelPort, number: number) {
    this.#native = native
    this.number = number
  }

  /** Connections that the worker holds now. */
  get leases(): number {
    return this.#native.channelStats(this.number)?.leases ?? 0
  }

  /** Connections that the worker has taken so far. */
  get handled(): number {
    return this.#native.channelStats(this.number)?.handedOff ?? this.#handled
  }

  /** The heartbeats of the worker's event loop so far; undefined once the channel has ended. */
  get beats(): number | undefined {
    return this.#native.channelStats(this.number)?.beats
  }

  /** The share of time in which the event loop was busy lately, 0 to 1; undefined if it is not known. */
  get eventLoopUtilization(): number | undefined {
    return this.#native.utilization(this.number) ?? undefined
  }

  /** Asks the worker to finish its leases and leave. It gets no more connections. */
  retire(): void {
    this.#native.retire(this.number)
  }

  /** Ends the channel now. */
  end(): void {
    this.#native.endChannel(this.number)
  }

  /** Records that the channel has ended, after this many connections. */
  ended(handled: number): void {
    this.#handled = handled
  }
}
