// The tests of Node that are expected to fail only through `serve()`, each with the reason.

/** @type {Readonly<Record<string, string>>} */
export const EXCEPTIONS = {
  'test-child-process-fork-net-server.js':
    'gives its listening socket to another process, but a served server has no listening socket in its process',
  'test-child-process-recv-handle.js':
    'gives its listening socket to another process, but a served server has no listening socket in its process',
  'test-child-process-send-returns-boolean.js':
    'gives its listening socket to another process, but a served server has no listening socket in its process',
  'test-handle-wrap-hasref.js':
    'counts the timers of the process in the turn of close(), but a client keeps its process by a timer until the parent has answered',
  'test-http2-client-promisify-connect-error.js':
    'expects ECONNREFUSED after its server has closed, but the parent still listens and resets the connection',
  'test-listen-fd-cluster.js':
    'gives its listening socket to another process, but a served server has no listening socket in its process',
  'test-listen-fd-server.js':
    'gives its listening socket to another process, but a served server has no listening socket in its process',
  'test-net-listen-handle-in-cluster-1.js':
    'gives its listening socket to another process, but a served server has no listening socket in its process',
  'test-net-listen-invalid-port.js':
    'compares the undocumented _connectionKey, which names the address that a process has bound itself',
}
