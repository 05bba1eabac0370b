// The ports on which workers listen for a debugger.

/**
 * Returns `execArgv` with a port of its own for a worker, if this process or the worker is to be debugged: the parent's port plus
 * 1 plus the slot, as in `cluster`, or the next free port. Without a port of their own, all processes would claim the parent's.
 */
export function withInspectPort(
  execArgv: readonly string[],
  env: NodeJS.ProcessEnv,
  lease: InspectPortLease,
): string[] {
  if (![...execArgv, env['NODE_OPTIONS'] ?? ''].some((argument) => INSPECT_OPTION.test(argument))) return [...execArgv]
  return [...execArgv, `--inspect-port=${lease.port}`]
}

/** The port of one worker. A slot gets the same port again once the worker before has exited. */
export class InspectPortLease {
  readonly #slot: number
  #port: number | undefined

  constructor(slot: number) {
    this.#slot = slot
  }

  /** The port; 0, which lets the system choose, if this process's own port is 0. */
  get port(): number {
    if (process.debugPort === 0) return 0
    if (this.#port === undefined) {
      let port = wrap(process.debugPort + 1 + this.#slot)
      // Taken by the worker that this one replaces, or by another pool's worker.
      while (taken.has(port)) port = wrap(port + 1)
      taken.add(port)
      this.#port = port
    }
    return this.#port
  }

  /** Frees the port: the worker has exited. */
  release(): void {
    if (this.#port !== undefined) taken.delete(this.#port)
  }
}

const taken = new Set<number>()

/** The options that Node's `cluster` looks for. */
const INSPECT_OPTION = /--inspect(?:-brk|-port|-wait)?\b|--debug-port/

const MIN_PORT = 1024
const MAX_PORT = 65_535

function wrap(port: number): number {
  return port > MAX_PORT ? port - MAX_PORT + MIN_PORT - 1 : port
}
