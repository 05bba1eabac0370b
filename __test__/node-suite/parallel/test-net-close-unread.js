// After its server has closed, an unread connection does not keep the process alive.

'use strict'

const net = require('node:net')

const server = net.createServer({ pauseOnConnect: true }, () => server.close())
server.listen(0, () => {
  const client = net.connect(server.address().port)
  client.on('error', () => {})
  client.write('unread')
  client.unref()
})
