export * from './descriptors.js'
export type { ListenAddress, PathAddress, TcpAddress } from './lib/address.js'
export type { Client } from './lib/client/client.js'
export type { AcceptOptions, ConnectOptions, ReconnectOptions, ServeOptions } from './lib/client/client-options.js'
export { connect } from './lib/client/connect.js'
export type { Connection, ConnectionInfo, ViaInfo } from './lib/client/connection/connection.js'
export { connectionOf } from './lib/client/connection/connection-of.js'
export type { ProxyInfo, ProxySsl } from './lib/client/connection/proxy-info.js'
export type { ClientEvents, JoinedInfo, LostInfo } from './lib/client/events.js'
export type { DrainInfo } from './lib/client/lifecycle/close-errors.js'
export { exposeMetrics, type MetricsRegistry } from './lib/client/metrics/expose-metrics.js'
export { type ErrorDetails, SocketServerError, type SocketServerErrorCode } from './lib/errors.js'
export type { ServerEvents } from './lib/server/events.js'
export type {
  AnyListenOptions,
  FdListenOptions,
  ListenOptions,
  PathListenOptions,
  PortListenOptions,
} from './lib/server/listen/listen-target.js'
export type { ProxyProtocolOptions, RoutingOptions, StickyOptions } from './lib/server/listen/routing-options.js'
export type { ServerNameOptions } from './lib/server/listen/server-names.js'
export type { AdminAddress, AdminOptions, AgentOptions } from './lib/server/observe/admin-options.js'
export type { Meter } from './lib/server/observe/instrument.js'
export type { ForkOptions } from './lib/server/pool/fork-options.js'
export type { Pool } from './lib/server/pool/pool.js'
export type { PoolOptions } from './lib/server/pool/pool-options.js'
export type { ReloadOptions } from './lib/server/pool/reload.js'
export type { RestartOptions } from './lib/server/pool/restart-policy.js'
export type { RunOptions } from './lib/server/pool/run-options.js'
export type { ThreadOptions } from './lib/server/pool/thread-options.js'
export { createServer, type Server } from './lib/server/server.js'
export type {
  CloseOptions,
  DrainOptions,
  MetricsOptions,
  PolicyName,
  ServerOptions,
  SignalOptions,
} from './lib/server/server-options.js'
export type { Share } from './lib/server/share/share.js'
export type { ShareOptions } from './lib/server/share/share-options.js'
export type { CutInfo, DrainResult, RefusedInfo, ServerStats, ShedInfo, StallInfo } from './lib/server/stats.js'
export type {
  JoinedHandle,
  ProcessHandle,
  ThreadHandle,
  WorkerHandle,
  WorkerState,
} from './lib/server/worker/worker-handle.js'
export { isWorker, sessionId, type WorkerIdentity, worker } from './lib/worker-identity.js'
