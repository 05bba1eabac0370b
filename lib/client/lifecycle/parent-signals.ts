// SIGINT and SIGTERM in a worker process.

import { constants } from 'node:os'
import { isMainThread } from 'node:worker_threads'
import { KeepAlive } from '../../keep-alive.js'
import type { Channel } from '../channel/channel.js'

/**
 * Ignores SIGINT and SIGTERM while the parent lives, for `signals: true`: Ctrl-C reaches every process of a terminal, and
 * systemd's SIGTERM every process of a unit, but the parent decides when a worker ends. Once the channel has ended, and in an app
 * that is not ready yet and so has nothing to finish, a signal ends this worker as usual, unless the application has a handler.
 */
export function leaveSignalsToParent(channel: Channel): void {
  for (const signal of SIGNALS) {
    const listener = (): void => {
      const isStartingApp = channel.settings.listenChannel > 0 && !channel.isOpen
      if ((channel.isOver || isStartingApp) && !isHandled(signal)) process.exit(128 + constants.signals[signal])
    }
    ours.add(listener)
    process.on(signal, listener)
  }
}

/** Returns whether the application has a SIGTERM handler. A thread gets no signals. */
export function handlesShutdown(): boolean {
  return isMainThread && isHandled('SIGTERM')
}

/** Sends SIGTERM to this process, and keeps the process alive until the handlers run: a pending signal does not. */
export function signalShutdown(): void {
  const keepAlive = new KeepAlive()
  const listener = (): void => keepAlive.release()
  keepAlive.hold()
  ours.add(listener)
  process.once('SIGTERM', listener)
  process.kill(process.pid, 'SIGTERM')
}

/** Ends this process, which has no handler of SIGTERM, by that signal. */
export function endBySignal(): void {
  for (const listener of process.listeners('SIGTERM')) if (ours.has(listener)) process.off('SIGTERM', listener)
  process.kill(process.pid, 'SIGTERM')
}

function isHandled(signal: NodeJS.Signals): boolean {
  return process.listeners(signal).some((listener) => !ours.has(listener))
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const

const ours = new Set<unknown>()
