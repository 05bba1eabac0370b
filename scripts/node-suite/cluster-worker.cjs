// Preloaded into a worker of cluster-primary.cjs, after the package's own preload: speaks the messages by which Node's primary
// learns of a worker's state. The package has no such primary. What listens, and what `cluster.worker` does, is the package's.

'use strict'

const cluster = require('node:cluster')
const { resolve } = require('node:path')

const id = process.env.NODE_SUITE_WORKER
delete process.env.NODE_SUITE_WORKER
hideFlag(process.execArgv)
if (id !== undefined) speak(cluster.worker)

function speak(worker) {
  worker.id = Number(id)
  let byPrimary = false
  let seq = 0
  /** Sends a message to the primary; `answered` is called when the primary has answered. */
  const send = (message, answered) => {
    const id = seq++
    if (answered !== undefined) process.on('internalMessage', ({ ack }) => ack === id && answered())
    process.send({ cmd: 'NODE_CLUSTER', seq: id, ...message })
  }

  const disconnectByNode = process.disconnect
  process.disconnect = () => {
    const disconnect = () => process.connected && disconnectByNode.call(process)
    if (worker.exitedAfterDisconnect && !byPrimary) send({ act: 'exitedAfterDisconnect' }, disconnect)
    else disconnect()
  }
  process.on('internalMessage', ({ cmd, act }) => {
    if (cmd !== 'NODE_CLUSTER' || act !== 'disconnect') return
    byPrimary = true
    worker.disconnect()
  })
  process.once('disconnect', () => {
    if (!worker.exitedAfterDisconnect) process.exit(0)
  })

  const getServer = cluster._getServer
  cluster._getServer = function _getServer(server, options, callback) {
    server.once('listening', () => {
      const port = server.address()?.port || options.port
      const address = options.port < 0 ? resolve(options.address) : options.address
      worker.state = 'listening'
      if (process.connected) send({ ...options, act: 'listening', address, port })
    })
    return getServer.call(this, server, options, callback)
  }
  send({ act: 'online' })
}

function hideFlag(flags) {
  const index = flags.findIndex((flag, at) => flag === '--require' && flags[at + 1] === __filename)
  if (index >= 0) flags.splice(index, 2)
}
