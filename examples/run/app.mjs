// An Express app as it is anywhere: nothing in it knows of socketserver.
//
//     npm run build && npx socketserver run -p 8888 examples/run/app.mjs

import express from 'express'

const app = express()

app.use((request, _response, next) => {
  console.log(`${request.method} ${request.url}`)
  next()
})

app.get('/', (request, response) => {
  response.send(`Hello, ${request.socket.remoteAddress}: this is process ${process.pid}.\n`)
})

app.get('/busy', (_request, response) => {
  const end = performance.now() + 1000
  while (performance.now() < end);
  response.send(`Process ${process.pid} was busy for a second.\n`)
})

app.listen(process.env['PORT'] ?? 3000)
