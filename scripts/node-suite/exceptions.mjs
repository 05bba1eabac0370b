// Node's tests that fail through `serve()` and not without it, each with the reason why that is as it should be.

/** @type {Readonly<Record<string, string>>} */
export const EXCEPTIONS = {
  'test-http2-client-promisify-connect-error.js':
    'expects ECONNREFUSED once its server has closed, but the parent goes on listening: the connection is reset instead',
  'test-net-listen-handle-in-cluster-1.js':
    'sends its listening socket to another process, but a served server has none in its own',
  'test-net-listen-invalid-port.js':
    'compares _connectionKey, which is not documented and names the address that a server has bound itself',
}
