import { SocketServerError, systemError } from '../errors.js'
import type { NativeDescriptor, ReceiveOutcome } from '../native.js'
import { Descriptor } from './descriptor.js'

/** The result of one `receive()`. Disposing it closes the descriptors that are still open. */
export class Received {
  /** At least one byte. A stream has no messages: this may be part of one `send()`, or several of them. */
  readonly data: Buffer
  /** The descriptors that were sent with any of these bytes, in order. The receiver owns them. */
  readonly descriptors: readonly Descriptor[]

  /** @internal */
  constructor(data: Buffer, descriptors: readonly NativeDescriptor[]) {
    this.data = data
    this.descriptors = descriptors.map((native) => Descriptor.of(native))
  }

  /** Closes the descriptors that are still open, at the end of a `using` block. */
  [Symbol.dispose](): void {
    for (const descriptor of this.descriptors) descriptor.close()
  }
}

/** Returns what was received; null at the end of the stream. Throws the error of a failed receive. */
export function readOutcome({ data, descriptors, error, kind }: ReceiveOutcome): Received | null {
  if (kind === 'data' && data !== undefined) return new Received(data, descriptors ?? [])
  if (kind === 'truncated') throw descriptorsLost(data, error)
  if (error !== undefined) throw systemError(error, error.syscall)
  return null
}

function descriptorsLost(data: Buffer | undefined, error: ReceiveOutcome['error']): SocketServerError {
  const why = error === undefined ? 'the system dropped them' : `${error.message} (${error.code})`
  return new SocketServerError(
    'ERR_SOCKETSERVER_DESCRIPTORS_LOST',
    `Descriptors that were sent to this process are lost: ${why}. The bytes that came with them are the error's data`,
    { data, cause: error === undefined ? undefined : systemError(error, error.syscall) },
  )
}
