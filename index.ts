export type { Client } from './lib/client/client.js'
export type { AcceptOptions, ConnectOptions, ReconnectOptions, ServeOptions } from './lib/client/client-options.js'
export { connect } from './lib/client/connect.js'
export type { Connection, ConnectionInfo } from './lib/client/connection.js'
export type { DrainInfo } from './lib/client/ending.js'
export type { JoinedInfo, LostInfo } from './lib/client/service.js'
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
export { type ErrorDetails, SocketServerError, type SocketServerErrorCode } from './lib/errors.js'
export type { ClientEvents, ServerEvents } from './lib/events.js'
export type { ListenAddress, PathAddress, TcpAddress } from './lib/server/address.js'
export type { ForkOptions } from './lib/server/fork-options.js'
export type {
  AnyListenOptions,
  FdListenOptions,
  ListenOptions,
  PathListenOptions,
  PortListenOptions,
} from './lib/server/listen-target.js'
export type { Pool } from './lib/server/pool.js'
export type { PoolOptions } from './lib/server/pool-options.js'
export type { ReloadOptions } from './lib/server/reload.js'
export type { RestartOptions } from './lib/server/restart-policy.js'
export { createServer, type Server } from './lib/server/server.js'
export type { DrainOptions, PolicyName, ServerOptions } from './lib/server/server-options.js'
export type { Share } from './lib/server/share.js'
export type { ShareOptions } from './lib/server/share-options.js'
export type { CutInfo, DrainResult, RefusedInfo, ServerStats, ShedInfo, StallInfo } from './lib/server/stats.js'
export type { ThreadOptions } from './lib/server/thread-options.js'
export type {
  JoinedHandle,
  ProcessHandle,
  ThreadHandle,
  WorkerHandle,
  WorkerState,
} from './lib/server/worker-handle.js'
export { isWorker, type WorkerIdentity, worker } from './lib/worker-identity.js'
