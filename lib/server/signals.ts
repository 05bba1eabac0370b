// The signal handlers of a parent whose server was created with `signals: true`.

import type { EventEmitter } from 'node:events'
import { constants } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { debug } from '../diagnostics.js'
import type { ServerEvents } from './events.js'

/** The methods of a server that the signal handlers call. */
interface SignalledServer extends EventEmitter<ServerEvents> {
  stats(): { cut: number }
  close(): Promise<void>
  destroy(): void
}

/** How to close a server on signals. */
interface SignalSetup {
  /** Milliseconds that the process has to exit once the server has closed. */
  exitTimeout: number
  /** Milliseconds for which the server continues to accept after the signal. */
  drainDelay: number
  /** Makes readiness fail, and makes HTTP responses the last on their connections. */
  announceDrain: () => void
}

/**
 * Closes the server on SIGINT and SIGTERM. The first signal closes the server, after the drain delay; then the process exits with 0, or with 1 if
 * connections were cut. The second signal destroys the server and exits with 128 plus its number, as a shell reports signals.
 */
export function closeOnSignals(server: SignalledServer, { exitTimeout, drainDelay, announceDrain }: SignalSetup): void {
  let isClosing = false
  const handle = (signal: NodeJS.Signals): void => {
    debug('%s: %s', signal, isClosing ? 'exits at once' : 'drains and closes')
    if (isClosing) {
      server.destroy()
      process.exit(128 + constants.signals[signal])
    }
    isClosing = true
    announceDrain()
    const before = server.stats().cut
    const close = async (): Promise<void> => {
      if (drainDelay > 0) await delay(drainDelay)
      await server.close()
    }
    close().then(
      () => exit(server.stats().cut > before ? 1 : 0, exitTimeout),
      (error: Error) => server.emit('error', error),
    )
  }
  for (const signal of SIGNALS) process.on(signal, handle)
  // Not earlier: while the server closes, a second signal must still be handled.
  server.once('close', () => {
    for (const signal of SIGNALS) process.off(signal, handle)
  })
}

/** Sets the exit code. The closed server no longer keeps the process alive; anything else may do so for `exitTimeout`. */
function exit(code: number, exitTimeout: number): void {
  process.exitCode ??= code
  setTimeout(() => process.exit(), exitTimeout).unref()
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const
