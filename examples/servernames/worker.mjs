// A worker for one host name. It takes the connections of the port in its arguments.

import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { connect } from '@socketserver/node'

process.on('SIGINT', () => {})

const [, , name, port] = process.argv
const { KEY = '/tmp/key.pem', CERT = '/tmp/cert.pem' } = process.env

const httpsServer = createServer({ key: readFileSync(KEY), cert: readFileSync(CERT) }, (_request, response) => {
  response.end(`This is process ${process.pid}, for ${name}.\n`)
})

connect({ port: Number(port) }).serve(httpsServer)
