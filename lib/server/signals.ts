// What SIGINT and SIGTERM do to a parent whose server was created with `signals: true`.

import { constants } from 'node:os'
import { debug } from '../diagnostics.js'
import type { Server } from './server.js'

/**
 * The first signal closes the server; when it has closed, the process ends with 0, or with 1 if that has cut connections.
 * The second destroys it and ends the process with 128 + the number of that signal, as a shell reports a signal.
 */
export function closeOnSignals(server: Server, exitTimeout: number): void {
  let isClosing = false
  const handle = (signal: NodeJS.Signals): void => {
    debug('%s: %s', signal, isClosing ? 'ends at once' : 'drains and closes')
    if (isClosing) {
      server.destroy()
      process.exit(128 + constants.signals[signal])
    }
    isClosing = true
    const before = server.stats().cut
    server.close().then(
      () => exit(server.stats().cut > before ? 1 : 0, exitTimeout),
      (error: Error) => server.emit('error', error),
    )
  }
  for (const signal of SIGNALS) process.on(signal, handle)
  // Only once it has closed by itself: while it closes for a signal, the second one must still find us.
  server.once('close', () => {
    for (const signal of SIGNALS) process.off(signal, handle)
  })
}

/** Lets the process end, as nothing of the server holds it any more, and ends it if something else does for too long. */
function exit(code: number, exitTimeout: number): void {
  process.exitCode ??= code
  setTimeout(() => process.exit(), exitTimeout).unref()
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const
