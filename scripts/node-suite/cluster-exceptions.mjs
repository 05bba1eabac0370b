// The tests of Node that are expected to fail only with workers of `server.run()`, each with the reason.

/** @type {Readonly<Record<string, string>>} */
export const CLUSTER_EXCEPTIONS = {
  'test-cluster-net-listen-backlog.js':
    "replaces listen() of the primary's TCP handles, but the server listens on its own thread",
  'test-cluster-net-listen-relative-path.js':
    'expects the listener to end with its last worker, but a listener outlives its workers',
  'test-cluster-net-server-drop-connection.js':
    'expects a connection above maxConnections to go to another worker, but it is dropped, as in a single process',
  'test-net-server-close-before-ipc-response.js':
    'waits for the message by which a worker asks its primary for a handle, but here it asks over a channel of its own',
}
