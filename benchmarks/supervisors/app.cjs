// The app of supervisors.mjs, which knows of no supervisor. Answers its process id and the body of the request.

const { createServer } = require('node:http')

const server = createServer((request, response) => {
  let body = ''
  request.setEncoding('utf8')
  request.on('data', (text) => {
    body += text
  })
  request.on('end', () => {
    const answer = () => response.end(`${process.pid} ${body}`)
    if (request.url === '/slow') setTimeout(answer, 20)
    else answer()
  })
})
server.listen(process.env['PORT'])

if (process.env['GRACEFUL'] === 'yes') {
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => server.close(() => process.exit()))
}
