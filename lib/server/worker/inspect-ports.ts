// The debugger ports of workers.

/**
 * Returns `execArgv` with a debugger port for the worker, if an option of the parent or of the worker asks for a debugger: the
 * parent's port plus 1 plus the slot, as in `cluster`, or the next free port. Otherwise all processes would use the parent's port.
 */
export function withInspectPort(
  execArgv: readonly string[],
  env: NodeJS.ProcessEnv,
  lease: InspectPortLease,
): string[] {
  if (![...execArgv, env['NODE_OPTIONS'] ?? ''].some((argument) => INSPECT_OPTION.test(argument))) return [...execArgv]
  return [...execArgv, `--inspect-port=${lease.port}`]
}

/** The debugger port of one worker. A slot gets the same port again once its previous worker has exited. */
export class InspectPortLease {
  readonly #slot: number
  #port: number | undefined

  constructor(slot: number) {
    this.#slot = slot
  }

  /** The port; 0, which lets the system choose, if the port of this process is 0. */
  get port(): number {
    if (process.debugPort === 0) return 0
    if (this.#port === undefined) {
      let port = wrap(process.debugPort + 1 + this.#slot)
      // The port is taken by the worker that this one replaces, or by a worker of another pool.
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

/** The same options that `cluster` of Node checks. */
const INSPECT_OPTION = /--inspect(?:-brk|-port|-wait)?\b|--debug-port/

const MIN_PORT = 1024
const MAX_PORT = 65_535

function wrap(port: number): number {
  return port > MAX_PORT ? port - MAX_PORT + MIN_PORT - 1 : port
}
