// Runs in a WORKER: its one channel to the parent, shared by the clients of the process.

import { type NativeReceiver, openReceiver, type ReceivedConnection, type ReceiverPhase } from '../native.js'
import type { Lane } from './lane.js'

/** The receiving end of a channel, and the lanes that connections leave it by. */
export class Channel {
  readonly #receiver: NativeReceiver
  readonly #lanes = new Set<Lane>()
  #phase: ReceiverPhase = { phase: 'joining' }
  #state: 'open' | 'leaving' | 'closed' = 'open'

  /** Owns `fd` from then on. Throws if it is not a channel. */
  constructor(fd: number) {
    this.#receiver = openReceiver(fd, () => this.#wake())
  }

  /** How far it has come, with the reason once it has ended. */
  get phase(): ReceiverPhase {
    return this.#phase
  }

  /** Whether this process has left, or is leaving: then there is no way back. */
  get hasLeft(): boolean {
    return this.#state !== 'open'
  }

  add(lane: Lane): void {
    this.#lanes.add(lane)
  }

  /** See `NativeReceiver.exchange`. */
  exchange(port: number, room: number, window: number, ended: number): ReceivedConnection[] {
    return this.#state === 'closed' ? [] : this.#receiver.exchange(port, room, window, ended)
  }

  /** A lane takes nothing any more. When none does, what has come and was not taken goes back to the parent at once. */
  stopped(): void {
    if (this.#state !== 'open' || [...this.#lanes].some(({ isStopped }) => !isStopped)) return
    this.#state = 'leaving'
    this.#receiver.leave()
  }

  /** The leases of a lane are over. After the last lane the channel ends. */
  remove(lane: Lane): void {
    this.#lanes.delete(lane)
    if (this.#lanes.size > 0) return
    this.#state = 'closed'
    this.#receiver.close()
  }

  #wake(): void {
    if (this.#state === 'closed') return
    const phase = this.#receiver.phase()
    const hasChanged = phase.phase !== this.#phase.phase
    this.#phase = phase
    // First what has come, then what has changed: a channel that is over may still hold connections.
    for (const lane of this.#lanes) lane.pump()
    if (!hasChanged) return
    for (const lane of this.#lanes) lane.phaseChanged(phase)
  }
}
