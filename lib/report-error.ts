import type { EventEmitter } from 'node:events'

/**
 * Reports an error that the emitter survives: as an `error` event, or as a process warning if there is no listener. An
 * `error` event without a listener would end the process, which is too much for a failed accept.
 */
export function report(emitter: EventEmitter, error: Error): void {
  if (emitter.listenerCount('error') > 0) emitter.emit('error', error)
  else process.emitWarning(error)
}
