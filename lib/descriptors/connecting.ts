import { setTimeout as delay } from 'node:timers/promises'
import { AbortError, systemError } from '../errors.js'
import { connectStream, type NativeStream } from '../native.js'
import type { SocketName } from './socket-name.js'

/** Connects to a listener. If its backlog is full, as Linux tells by EAGAIN, it tries again until `signal` is aborted. */
export async function connectWhenThereIsRoom(
  { bytes, shown }: SocketName,
  signal: AbortSignal | undefined,
): Promise<NativeStream> {
  for (;;) {
    if (signal?.aborted) throw new AbortError(signal.reason)
    const { stream, error } = connectStream(bytes)
    if (stream !== undefined) return stream
    if (error === undefined) throw new TypeError('The binding returned neither a stream nor an error')
    if (error.code !== 'EAGAIN') throw systemError(error, error.syscall, { address: shown })
    // The kernel tells nobody when there is room again (connect(2)).
    await delay(INTERVAL, undefined, { signal })
  }
}

/** Milliseconds between two tries; a hundred a second cost nothing. */
const INTERVAL = 10
