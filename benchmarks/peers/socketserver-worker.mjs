// A worker of socketserver.mjs: a process or a thread.

import { connect } from '@socketserver/node'
import { behaviours } from './behaviours.mjs'
import { blockEventLoop } from './block-event-loop.mjs'
import { createListeningServer } from './listening-server.mjs'
import { settings } from './settings.mjs'

const given = settings()
const client = connect()
// Exits although the load generator may still hold connections.
client.on('drain', () => process.exit())
if (given.stuck !== undefined) blockEventLoop(given.stuck)

if (given.behaviour === 'http') {
  client.serve(createListeningServer(given))
} else if (given.behaviour === 'service' && given.oneAtATime) {
  for await (const { socket } of client) await behaviours.service(socket)
} else {
  client.on('connection', behaviours[given.behaviour])
}
