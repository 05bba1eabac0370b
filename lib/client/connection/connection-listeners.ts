import type { EventEmitter } from 'node:events'

/** How many connections the listeners of `connection` stand for: one for a `once`, any number for an `on`. */
export class ConnectionListeners {
  readonly #emitter: EventEmitter
  readonly #onChange: () => void
  #demand: number | undefined

  /** `onChange` is told, once the change has been made, that there are more or fewer. */
  constructor(emitter: EventEmitter, onChange: () => void) {
    this.#emitter = emitter
    this.#onChange = onChange
    this.#watch()
  }

  get demand(): number {
    this.#demand ??= demandOf(this.#emitter.rawListeners('connection'))
    return this.#demand
  }

  #watch(): void {
    for (const name of WATCHED) {
      if (!this.#emitter.listeners(name).includes(this.#changed)) this.#emitter.on(name, this.#changed)
    }
  }

  readonly #changed = (name: string | symbol): void => {
    if (name !== 'connection' && name !== 'newListener') return
    this.#demand = undefined
    // 'newListener' comes before the listener is there; and removeAllListeners() takes these two along.
    queueMicrotask(() => {
      this.#demand = undefined
      this.#watch()
      this.#onChange()
    })
  }
}

function demandOf(listeners: readonly (() => unknown)[] | readonly unknown[]): number {
  // What once() adds is a wrapper that names the listener it stands for.
  const isOnce = (listener: unknown): boolean => typeof listener === 'function' && 'listener' in listener
  if (listeners.length === 0) return 0
  return listeners.every(isOnce) ? 1 : Number.POSITIVE_INFINITY
}

const WATCHED = ['newListener', 'removeListener']
