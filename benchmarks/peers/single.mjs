// A single Node process.

import { BACKLOG, createListeningServer } from './listening-server.mjs'
import { onStop, ready } from './ready.mjs'
import { settings } from './settings.mjs'

const server = createListeningServer(settings())
server.listen({ port: 0, host: '127.0.0.1', backlog: BACKLOG }, () => {
  const address = server.address()
  if (typeof address === 'object' && address !== null) ready(address.port)
})
onStop(() => process.exit())
