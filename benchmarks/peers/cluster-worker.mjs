// A worker of cluster.mjs. Both policies give all workers one port when each asks for any.

import { BACKLOG, createListeningServer } from './listening-server.mjs'
import { settings } from './settings.mjs'
import { getStuck } from './stuck.mjs'

const given = settings()
createListeningServer(given).listen({ port: 0, host: '127.0.0.1', backlog: BACKLOG })
if (given.stuck !== undefined) getStuck(given.stuck)
// Sent when the primary disconnects; connections that are still held must not keep the process.
process.on('disconnect', () => process.exit())
