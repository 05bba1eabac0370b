import type { Server } from '../server/server.js'

/** Keeps the slots of processes and threads, also of the latest exited ones, because errors name a process and not a slot. */
export class WorkerSlots {
  readonly #slots = new Map<number, number>()

  constructor(server: Server) {
    server.on('start', ({ pid, threadId, slot }) => {
      const id = pid ?? threadId
      if (id === undefined || slot === undefined) return
      // A map keeps the order of insertion. The deletion makes this entry the newest, so the oldest entry is removed below.
      this.#slots.delete(id)
      this.#slots.set(id, slot)
      if (this.#slots.size > MAX_SLOTS) this.#slots.delete(this.#slots.keys().next().value ?? 0)
    })
  }

  readonly slotOf = (id: number): number | undefined => this.#slots.get(id)
}

const MAX_SLOTS = 1024
