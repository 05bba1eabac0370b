// Preloaded into one of Node's tests, a worker of run-test.mjs: `listen()` serves a listener of the parent instead, if the parent
// has a listener with that host and port.

'use strict'

const net = require('node:net')
const { connect } = require('../../dist/index.js')

/** The addresses of the parent's listeners, in the order of use. */
const listeners = JSON.parse(process.env.NODE_SUITE_LISTENERS ?? '[]')
delete process.env.NODE_SUITE_LISTENERS
/** The clients by port. */
const clients = new Map()
/** The port of each served server. */
const ports = new WeakMap()
const { close: closeByNode, listen: listenByNode } = net.Server.prototype

net.Server.prototype.listen = function listen(...args) {
  const port = this.listening ? undefined : servedPort(args)
  if (port === undefined) return listenByNode.apply(this, args)
  const callback = args.at(-1)
  if (typeof callback === 'function') this.once('listening', callback)
  const client = connect({ port })
  clients.set(port, client)
  client.serve(this)
  ports.set(this, port)
  process.send?.({ nodeSuite: { port, isServed: true } })
  return this
}

net.Server.prototype.close = function close(...args) {
  const result = closeByNode.apply(this, args)
  const port = ports.get(this)
  if (port !== undefined) process.send?.({ nodeSuite: { port, isServed: false } })
  ports.delete(this)
  return result
}

/** Returns the port of a matching listener that no server of this process uses; undefined if there is none. */
function servedPort(args) {
  const wanted = target(args)
  if (wanted === undefined || !isConnected()) return undefined
  const isFree = ({ port }) => !clients.has(port) || (wanted.port === port && clients.get(port).isClosing)
  const found = listeners.find(
    (listener) => listener.address === wanted.address && [0, listener.port].includes(wanted.port) && isFree(listener),
  )
  return found?.port
}

/** Returns the port and host of a `listen()` call that has no other options than those and a backlog. */
function target(args) {
  const [first, second] = args
  const isOptions = typeof first === 'object' && first !== null
  if (isOptions && !('port' in first)) return undefined
  if (isOptions && !Object.keys(first).every((key) => ['port', 'host', 'backlog'].includes(key))) return undefined
  const port = isOptions ? first.port : typeof first === 'function' ? undefined : first
  const host = isOptions ? first.host : typeof second === 'string' ? second : undefined
  if (![undefined, null, 0, '0'].includes(port) && typeof port !== 'number') return undefined
  return { port: Number(port ?? 0), address: host === 'localhost' ? '127.0.0.1' : (host ?? '::') }
}

/** Returns whether this process is the parent's worker, and not a process that the test has started. */
function isConnected() {
  try {
    // The channel ends with its last client. A client of the last listener, which no test uses, keeps it open.
    connect({ port: listeners.at(-1).port }).unref()
    return true
  } catch {
    return false
  }
}
