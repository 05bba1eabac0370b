// The entry `@socketserver/node/descriptors`: streams of bytes and descriptors, without server and workers.

export {
  Descriptor,
  type DescriptorKind,
  type DescriptorOwner,
  type DescriptorSocketOptions,
} from './lib/descriptors/descriptor.js'
export { DescriptorListener } from './lib/descriptors/descriptor-listener.js'
export type { DescriptorSource } from './lib/descriptors/descriptor-source.js'
export { DescriptorStream } from './lib/descriptors/descriptor-stream.js'
export type { Received } from './lib/descriptors/received.js'
export type {
  DescriptorAcceptOptions,
  DescriptorConnectOptions,
  DescriptorListenOptions,
  ReceiveOptions,
} from './lib/descriptors/stream-options.js'
