import { DescriptorStream, type Received } from '@socketserver/node'
import type { ExecutionContext } from 'ava'
import { within } from './within.js'

/** Returns both ends of a stream, destroyed at the end of the test. */
export function streamPair(t: ExecutionContext): [DescriptorStream, DescriptorStream] {
  const ends = DescriptorStream.pair()
  t.teardown(() => {
    for (const end of ends) end.destroy()
  })
  return ends
}

/** Receives the next data; throws at the end of the stream. */
export async function next(stream: DescriptorStream): Promise<Received> {
  const received = await within(stream.receive(), 'data to receive')
  if (received === null) throw new Error('The stream has ended')
  return received
}

/** Receives until `length` bytes have arrived and returns all of them. */
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

/** Sends more than the kernel buffers. Returns the size and the pending call. */
export function fill(stream: DescriptorStream): { size: number; waits: Promise<void> } {
  // More than any default socket buffer, net.core.wmem_default or net.local.stream.sendspace, holds.
  const size = 2 ** 22
  return { size, waits: stream.send(Buffer.alloc(size, '.')) }
}

/** Returns whether a promise settles within a few turns of the event loop. */
export async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  const settle = (): void => {
    settled = true
  }
  promise.then(settle, settle)
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  return settled
}
