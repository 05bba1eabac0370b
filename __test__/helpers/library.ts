import { join } from 'node:path'

/** The internal modules of the package that have unit tests, by their path in lib/. */
interface Library {
  backoff: typeof import('../../dist/lib/backoff.js')
  errors: typeof import('../../dist/lib/errors.js')
  validate: typeof import('../../dist/lib/validate.js')
  'command/control/control-server': typeof import('../../dist/lib/command/control/control-server.js')
  'command/settings/run-settings': typeof import('../../dist/lib/command/settings/run-settings.js')
  'client/client-options': typeof import('../../dist/lib/client/client-options.js')
  'client/connection/adopt-socket': typeof import('../../dist/lib/client/connection/adopt-socket.js')
  'client/connection/connection-listeners': typeof import('../../dist/lib/client/connection/connection-listeners.js')
  'client/channel/lane': typeof import('../../dist/lib/client/channel/lane.js')
  'client/connection/received-connection': typeof import('../../dist/lib/client/connection/received-connection.js')
  'client/connection/stream-handle': typeof import('../../dist/lib/client/connection/stream-handle.js')
  'descriptors/descriptor-source': typeof import('../../dist/lib/descriptors/descriptor-source.js')
  'descriptors/socket-name': typeof import('../../dist/lib/descriptors/socket-name.js')
  waiters: typeof import('../../dist/lib/waiters.js')
  address: typeof import('../../dist/lib/address.js')
  'server/drain': typeof import('../../dist/lib/server/drain.js')
  'server/listen/listen-target': typeof import('../../dist/lib/server/listen/listen-target.js')
  'server/observe/facts': typeof import('../../dist/lib/server/observe/facts.js')
  'server/notices': typeof import('../../dist/lib/server/notices.js')
  'server/worker/own-listeners': typeof import('../../dist/lib/server/worker/own-listeners.js')
  'server/pool/pool-options': typeof import('../../dist/lib/server/pool/pool-options.js')
  'server/repeated-errors': typeof import('../../dist/lib/server/repeated-errors.js')
  'server/pool/recycling': typeof import('../../dist/lib/server/pool/recycling.js')
  'server/pool/resolve-entry': typeof import('../../dist/lib/server/pool/resolve-entry.js')
  'server/share/shares': typeof import('../../dist/lib/server/share/shares.js')
  'server/pool/restart-policy': typeof import('../../dist/lib/server/pool/restart-policy.js')
  'server/setup-warnings': typeof import('../../dist/lib/server/setup-warnings.js')
  'server/pool/supervisor': typeof import('../../dist/lib/server/pool/supervisor.js')
  'server/pool/shortage': typeof import('../../dist/lib/server/pool/shortage.js')
  'server/server-options': typeof import('../../dist/lib/server/server-options.js')
}

/** Loads a compiled internal module. */
export function library<Path extends keyof Library>(path: Path): Library[Path] {
  return require(join(__dirname, '..', '..', '..', 'dist', 'lib', path))
}
