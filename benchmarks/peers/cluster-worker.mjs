// A worker of cluster.mjs. With both policies, all workers that listen on port 0 get the same port.

import { blockEventLoop } from './block-event-loop.mjs'
import { BACKLOG, createListeningServer } from './listening-server.mjs'
import { settings } from './settings.mjs'

const given = settings()
createListeningServer(given).listen({ port: 0, host: '127.0.0.1', backlog: BACKLOG })
if (given.stuck !== undefined) blockEventLoop(given.stuck)
// Exits although clients may still hold connections.
process.on('disconnect', () => process.exit())
