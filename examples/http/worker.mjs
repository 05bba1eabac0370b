// An Express application. Only the last line differs: serve() replaces listen().

import { createServer } from 'node:http'
import { connect } from '@socketserver/node'
import express from 'express'

process.on('SIGINT', () => {})

const app = express()

app.get('/', (request, response) => {
  response.send(`Hello, ${request.socket.remoteAddress}: this is process ${process.pid}.\n`)
})

app.post('/echo', (request, response) => {
  request.pipe(response)
})

connect().serve(createServer(app), { concurrency: 100 })
