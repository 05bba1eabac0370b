import { SocketServerError, systemError } from '../errors.js'
import type { NativeDescriptor, ReceiveOutcome } from '../native.js'
import { Descriptor } from './descriptor.js'

/** What one `receive()` has brought: disposed, it closes what is still open of its descriptors. */
export class Received {
  /** At least one byte. A stream has no messages: it may be a part of what was sent, or more than one `send()` of it. */
  readonly data: Buffer
  /** What was sent with any of these bytes, in order. They belong to whoever has received them. */
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

/** What it is that has come; null at the end. Throws what has gone wrong. */
export function readOutcome({ data, descriptors, error, kind }: ReceiveOutcome): Received | null {
  if (kind === 'data' && data !== undefined) return new Received(data, descriptors ?? [])
  if (kind === 'truncated') throw descriptorsLost(data, error)
  if (error !== undefined) throw systemError(error, error.syscall)
  return null
}

function descriptorsLost(data: Buffer | undefined, error: ReceiveOutcome['error']): SocketServerError {
  const why = error === undefined ? 'the system has refused them' : `${error.message} (${error.code})`
  return new SocketServerError(
    'ERR_SOCKETSERVER_DESCRIPTORS_LOST',
    `Descriptors were sent that this process could not take: ${why}. What came with them is the error's data`,
    { data, cause: error === undefined ? undefined : systemError(error, error.syscall) },
  )
}
