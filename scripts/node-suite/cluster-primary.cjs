// Preloaded into one of Node's tests that calls `cluster.fork()`. Node's `cluster` makes its own Worker object and events; the
// process behind it is started by `server.run()`, so that what the worker listens on goes through this package.

'use strict'

const childProcess = require('node:child_process')
const { createServer } = require('../../dist/index.js')
const native = require('../../dist/lib/native.js')

const WORKER = require.resolve('./cluster-worker.cjs')
/** All forks of a primary share their listeners. */
const APP = 1

const { fork: forkByNode } = childProcess
const { openListenChannel } = native

native.openListenChannel = (server, _app, channel) => openListenChannel(server, APP, channel)

hideFlag(process.execArgv)

let server

childProcess.fork = function fork(path, args, options) {
  const { NODE_UNIQUE_ID: id, ...env } = options?.env ?? {}
  return id === undefined
    ? forkByNode(path, args, options)
    : runWorker(path, args, options, { ...env, NODE_SUITE_WORKER: id })
}

function runWorker(path, args, { cwd, serialization, silent, stdio, gid, uid, execArgv }, env) {
  server ??= newServer()
  const each = silent ? 'pipe' : 'inherit'
  const pool = server.run(path, {
    ...{ workers: 1, restart: false, ready: 'start', readyTimeout: 0, detached: false },
    ...{ args, env, cwd, serialization, gid, uid },
    stdio: stdio ?? [each, each, each, 'ipc'],
    execArgv: [...execArgv, '--require', WORKER],
  })
  pool.ready.catch(() => {})
  const [worker] = pool.workers
  // The server keeps nothing alive; the worker does, as a fork of Node.
  worker.process.ref()
  worker.process.channel?.ref()
  return worker.process
}

function newServer() {
  const created = createServer()
  created.on('error', () => {})
  created.unref()
  return created
}

function hideFlag(flags) {
  const index = flags.findIndex((flag, at) => flag === '--require' && flags[at + 1] === __filename)
  if (index >= 0) flags.splice(index, 2)
}
