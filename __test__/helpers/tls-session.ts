import { text } from 'node:stream/consumers'
import { type ConnectionOptions, connect } from 'node:tls'
import { within } from './within.js'

/** A TLS client that offers the last session of each connection to the next one. */
export class TlsSession {
  /** The different answers so far. */
  readonly answers = new Set<string>()
  readonly #options: ConnectionOptions
  #session: Buffer | undefined

  constructor(options: ConnectionOptions = {}) {
    this.#options = options
  }

  /** Connects to a port of 127.0.0.1 and waits for the answer. Returns whether the server has resumed the session. */
  async visit(port: number): Promise<boolean> {
    const session = this.#session
    const socket = connect({ ...this.#options, port, host: '127.0.0.1', rejectUnauthorized: false, session })
    let isReused = false
    socket.on('secureConnect', () => {
      isReused = socket.isSessionReused()
    })
    socket.on('session', (next: Buffer) => {
      this.#session = next
    })
    this.answers.add(await within(text(socket), 'an answer over TLS'))
    return isReused
  }
}
