import { setTimeout as delay } from 'node:timers/promises'
import { AbortError, systemError } from '../errors.js'
import { connectStream, type NativeStream } from '../native.js'
import type { SocketName } from './socket-name.js'

/** Connects to a listener. Retries while the listener's backlog is full (EAGAIN on Linux), until `signal` is aborted. */
export async function connectWithRetry(
  { bytes, shown }: SocketName,
  signal: AbortSignal | undefined,
): Promise<NativeStream> {
  for (;;) {
    if (signal?.aborted) throw new AbortError(signal.reason)
    const { stream, error } = connectStream(bytes)
    if (stream !== undefined) return stream
    if (error === undefined) throw new TypeError('The binding returned neither a stream nor an error')
    if (error.code !== 'EAGAIN') throw systemError(error, error.syscall, { address: shown })
    // No event reports that the backlog has room again (connect(2)).
    await delay(INTERVAL, undefined, { signal })
  }
}

/** Milliseconds between two attempts: 100 attempts a second cost no measurable CPU time. */
const INTERVAL = 10
