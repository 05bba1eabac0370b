import { DescriptorStream, type Received } from '@socketserver/node'
import type { ExecutionContext } from 'ava'
import { within } from './within.js'

/** Both ends of a stream, gone when the test is over. */
export function streamPair(t: ExecutionContext): [DescriptorStream, DescriptorStream] {
  const ends = DescriptorStream.pair()
  t.teardown(() => {
    for (const end of ends) end.destroy()
  })
  return ends
}

/** What comes next, which must not be the end. */
export async function next(stream: DescriptorStream): Promise<Received> {
  const received = await within(stream.receive(), 'something to be received')
  if (received === null) throw new Error('The stream has ended')
  return received
}

/** Receives until so many bytes have come, and gives all of them. */
export async function bytes(stream: DescriptorStream, length: number): Promise<{ data: Buffer; count: number }> {
  const parts: Buffer[] = []
  let [size, count] = [0, 0]
  while (size < length) {
    using received = await next(stream)
    parts.push(received.data)
    size += received.data.length
    count += received.descriptors.length
  }
  return { data: Buffer.concat(parts), count }
}

/** Sends until the kernel takes no more; gives what was sent so far and the call that waits. */
export function fill(stream: DescriptorStream): { size: number; waits: Promise<void> } {
  // More than any default buffer of a socket, net.core.wmem_default or net.local.stream.sendspace, holds.
  const size = 2 ** 22
  return { size, waits: stream.send(Buffer.alloc(size, '.')) }
}

/** Whether a promise has settled by the time that everything that is ready has been done. */
export async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  const settle = (): void => {
    settled = true
  }
  promise.then(settle, settle)
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  return settled
}
