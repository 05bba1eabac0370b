import type { ReadyWhen } from '../../worker-settings.js'

/** The words for errors about readiness: "it has not <missing>", and "before it had <done>". */
export interface Readiness {
  missing: string
  done: string
}

/** Returns the words for the workers of a pool. `readyWhen` is empty for workers that call `connect()`. */
export function readinessOf(readyWhen: ReadyWhen | '', isReadyManual: boolean): Readiness {
  switch (readyWhen) {
    case 'listen':
      return { missing: 'listened', done: 'listened' }
    case 'message':
      return { missing: "sent the message 'ready'", done: "sent the message 'ready'" }
    case 'start':
      return { missing: 'started', done: 'started' }
    case '':
      return { missing: isReadyManual ? 'called connect() and client.ready()' : 'called connect()', done: 'connected' }
  }
}
