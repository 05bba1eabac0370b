// A worker of reuse-port.mjs. Its argument is the port, or 0 for any port.

import { BACKLOG, createListeningServer } from './listening-server.mjs'
import { settings } from './settings.mjs'

const server = createListeningServer(settings())
// `reusePort` is in Node since 22.12, and not in the types of Node 20.
const options = { port: Number(process.argv[2]), host: '127.0.0.1', backlog: BACKLOG, reusePort: true }
server.listen(options, () => {
  const address = server.address()
  if (typeof address === 'object' && address !== null) process.send?.(address.port)
})
process.on('disconnect', () => process.exit())
