// A worker of reuse-port.mjs; its argument is the port, or 0.

import { BACKLOG, createListeningServer } from './listening-server.mjs'
import { settings } from './settings.mjs'

const server = createListeningServer(settings())
// In Node's types since 22.12, like the option itself.
const options = { port: Number(process.argv[2]), host: '127.0.0.1', backlog: BACKLOG, reusePort: true }
server.listen(options, () => {
  const address = server.address()
  if (typeof address === 'object' && address !== null) process.send?.(address.port)
})
process.on('disconnect', () => process.exit())
