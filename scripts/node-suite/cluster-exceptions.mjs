// The tests of Node that are expected to fail only with workers of `server.run()`, each with the reason.

/** @type {Readonly<Record<string, string>>} */
export const CLUSTER_EXCEPTIONS = {
  'test-cluster-net-listen-backlog.js':
    'expects the primary to call net.Server.prototype.listen(), but the parent opens its listeners in Rust',
  'test-cluster-net-listen-relative-path.js':
    'expects the listener to end with its last worker, but a listener outlives its workers',
  'test-cluster-net-server-drop-connection.js':
    'expects a connection above maxConnections to go to another worker, but each worker drops the connections above its own limit',
  'test-net-server-close-before-ipc-response.js':
    'waits for the message by which a worker asks its primary for a handle, but here it asks over a channel of its own',
}
