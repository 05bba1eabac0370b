import { AsyncResource } from 'node:async_hooks'

/**
 * The async context in which a client was created. Each connection starts in it. Otherwise a later connection would inherit the
 * store that a handler enters by `AsyncLocalStorage.enterWith()`: a connection that arrives in the same turn, or when the
 * handler's connection ends.
 */
export class ClientContext {
  readonly #client = new AsyncResource(TYPE)

  /** Runs a handler of one connection. */
  run(handler: () => void): void {
    this.#client.runInAsyncScope(ENTERS_RESOURCE ? inOwnResource : handler, undefined, handler)
  }
}

/** Runs a handler in a separate resource, for versions of Node in which `enterWith()` changes the current resource. */
function inOwnResource(handler: () => void): void {
  new AsyncResource(TYPE).runInAsyncScope(handler)
}

const TYPE = 'SocketServerConnection'

/** From Node 24 on, contexts are values (AsyncContextFrame), and the end of a scope restores the previous one. */
const ENTERS_RESOURCE = Number.parseInt(process.versions.node, 10) < 24
