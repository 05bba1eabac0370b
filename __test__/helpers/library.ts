import { join } from 'node:path'

/** The modules that the package keeps to itself, by their path below lib/. */
interface Library {
  errors: typeof import('../../dist/lib/errors.js')
  validate: typeof import('../../dist/lib/validate.js')
  'client/accept-queue': typeof import('../../dist/lib/client/accept-queue.js')
  'client/backoff': typeof import('../../dist/lib/client/backoff.js')
  'client/client-options': typeof import('../../dist/lib/client/client-options.js')
  'client/adopt-socket': typeof import('../../dist/lib/client/adopt-socket.js')
  'client/connection-listeners': typeof import('../../dist/lib/client/connection-listeners.js')
  'client/lane': typeof import('../../dist/lib/client/lane.js')
  'client/received-connection': typeof import('../../dist/lib/client/received-connection.js')
  'client/stream-handle': typeof import('../../dist/lib/client/stream-handle.js')
  'descriptors/descriptor-source': typeof import('../../dist/lib/descriptors/descriptor-source.js')
  'descriptors/socket-name': typeof import('../../dist/lib/descriptors/socket-name.js')
  'descriptors/waiters': typeof import('../../dist/lib/descriptors/waiters.js')
  'server/address': typeof import('../../dist/lib/server/address.js')
  'server/drain': typeof import('../../dist/lib/server/drain.js')
  'server/listen-target': typeof import('../../dist/lib/server/listen-target.js')
  'server/notices': typeof import('../../dist/lib/server/notices.js')
  'server/pool-options': typeof import('../../dist/lib/server/pool-options.js')
  'server/repeated-errors': typeof import('../../dist/lib/server/repeated-errors.js')
  'server/resolve-entry': typeof import('../../dist/lib/server/resolve-entry.js')
  'server/shares': typeof import('../../dist/lib/server/shares.js')
  'server/restart-policy': typeof import('../../dist/lib/server/restart-policy.js')
  'server/supervisor': typeof import('../../dist/lib/server/supervisor.js')
  'server/server-options': typeof import('../../dist/lib/server/server-options.js')
}

/** One of them, as compiled: for a unit test. */
export function library<Path extends keyof Library>(path: Path): Library[Path] {
  return require(join(__dirname, '..', '..', '..', 'dist', 'lib', path))
}
