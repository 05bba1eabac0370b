import { AsyncResource } from 'node:async_hooks'

/**
 * The async context in which a client was made. Each connection starts from it: otherwise what one handler enters by
 * `AsyncLocalStorage.enterWith()` would be seen by the connections that are taken after it in the same turn, or that its end
 * makes room for.
 */
export class ClientContext {
  readonly #client = new AsyncResource(TYPE)

  /** Runs a handler of one connection. */
  run(handler: () => void): void {
    this.#client.runInAsyncScope(ENTERS_RESOURCE ? inOwnResource : handler, undefined, handler)
  }
}

/** Where `enterWith()` writes to the resource that runs, every connection needs one of its own. */
function inOwnResource(handler: () => void): void {
  new AsyncResource(TYPE).runInAsyncScope(handler)
}

const TYPE = 'SocketServerConnection'

/** From Node 24 on, contexts are values (AsyncContextFrame) that the end of a scope puts back. */
const ENTERS_RESOURCE = Number.parseInt(process.versions.node, 10) < 24
