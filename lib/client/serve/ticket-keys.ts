import type { Server as NetServer } from 'node:net'
import type { Server as TlsServer } from 'node:tls'

/**
 * Gives a TLS server the ticket keys that all workers share, so that any worker can resume a session of another worker. Without
 * shared keys, each server creates its own. Keys of the application take precedence: the option `ticketKeys`, or `setTicketKeys()`.
 */
export class SharedTicketKeys {
  readonly #setTicketKeys: ((keys: Buffer) => void) | undefined
  #keys: Buffer | undefined
  /** Whether the keys of the server are final. */
  #isSettled = true

  /** Returns the instance of a server. A server that listens again keeps its instance. */
  static of(server: NetServer): SharedTicketKeys {
    const known = sharedTicketKeys.get(server) ?? new SharedTicketKeys(server)
    sharedTicketKeys.set(server, known)
    return known
  }

  private constructor(server: NetServer) {
    if (!isTlsServer(server) || Reflect.get(server, 'ticketKeys') !== undefined) return
    this.#isSettled = false
    const setTicketKeys = server.setTicketKeys.bind(server)
    const setSecureContext = server.setSecureContext.bind(server)
    this.#setTicketKeys = setTicketKeys
    server.setTicketKeys = (keys) => {
      this.#isSettled = true
      this.#keys = undefined
      setTicketKeys(keys)
    }
    server.setSecureContext = (options) => {
      setSecureContext(options)
      // A new certificate creates a new context with new keys.
      if (this.#keys !== undefined) setTicketKeys(this.#keys)
    }
  }

  /** Sets the shared keys, which `keys` returns. Must be called before the server gets its first connection. */
  set(keys: () => Buffer | undefined): void {
    if (this.#isSettled) return
    this.#isSettled = true
    this.#keys = keys()
    if (this.#keys !== undefined) this.#setTicketKeys?.(this.#keys)
  }
}

const sharedTicketKeys = new WeakMap<NetServer, SharedTicketKeys>()

/** Not by `instanceof`: a worker without TLS need not load `node:tls`. */
function isTlsServer(server: NetServer): server is TlsServer {
  return 'setTicketKeys' in server && 'setSecureContext' in server
}
