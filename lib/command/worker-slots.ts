import type { Server } from '../server/server.js'

/** Remembers which slot a process or thread had, also for a while after it has exited: errors name the process. */
export class WorkerSlots {
  readonly #slots = new Map<number, number>()

  constructor(server: Server) {
    server.on('start', ({ pid, threadId, slot }) => {
      const id = pid ?? threadId
      if (id === undefined || slot === undefined) return
      // Set anew, it is the youngest: the eldest is forgotten.
      this.#slots.delete(id)
      this.#slots.set(id, slot)
      if (this.#slots.size > MOST_REMEMBERED) this.#slots.delete(this.#slots.keys().next().value ?? 0)
    })
  }

  readonly slotOf = (id: number): number | undefined => this.#slots.get(id)
}

const MOST_REMEMBERED = 1024
