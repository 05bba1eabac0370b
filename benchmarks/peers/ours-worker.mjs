// A worker of ours.mjs, as process or thread.

import { connect } from '@socketserver/node'
import { behaviours } from './behaviours.mjs'
import { createListeningServer } from './listening-server.mjs'
import { settings } from './settings.mjs'
import { getStuck } from './stuck.mjs'

const given = settings()
const client = connect()
// What the load generator holds when a run is over is nothing to wait for.
client.on('drain', () => process.exit())
if (given.stuck !== undefined) getStuck(given.stuck)

if (given.behaviour === 'http') {
  client.serve(createListeningServer(given))
} else if (given.behaviour === 'service' && given.oneAtATime) {
  for await (const { socket } of client) await behaviours.service(socket)
} else {
  client.on('connection', behaviours[given.behaviour])
}
