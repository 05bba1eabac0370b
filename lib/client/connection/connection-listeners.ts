import type { EventEmitter } from 'node:events'

/** The demand of the listeners of `connection`: one connection for `once`, any number for `on`. */
export class ConnectionListeners {
  readonly #emitter: EventEmitter
  readonly #onChange: () => void
  #demand: number | undefined

  /** `onChange` is called after a listener was added or removed. */
  constructor(emitter: EventEmitter, onChange: () => void) {
    this.#emitter = emitter
    this.#onChange = onChange
    this.#watch()
  }

  /** How many connections the listeners would take; Infinity for `on`. */
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
    // 'newListener' is emitted before the listener is added, and removeAllListeners() also removes these two.
    queueMicrotask(() => {
      this.#demand = undefined
      this.#watch()
      this.#onChange()
    })
  }
}

function demandOf(listeners: readonly (() => unknown)[] | readonly unknown[]): number {
  // once() adds a wrapper with the property `listener`.
  const isOnce = (listener: unknown): boolean => typeof listener === 'function' && 'listener' in listener
  if (listeners.length === 0) return 0
  return listeners.every(isOnce) ? 1 : Number.POSITIVE_INFINITY
}

const WATCHED = ['newListener', 'removeListener']
