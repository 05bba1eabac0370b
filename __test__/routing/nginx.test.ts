// A real nginx in front of a server, as a TCP proxy with the PROXY protocol and as an HTTP proxy.

import { fetchOnce } from '../helpers/http.js'
import { nginxTest, startNginx } from '../helpers/nginx.js'
import { forkFixture, portOf, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

nginxTest('nginx as a TCP proxy sends the address of the client before the TLS of the client', async (t) => {
  const server = startServer(t)
  const proxyProtocol = { from: '127.0.0.1', timeout: 60_000 }
  const sticky = { by: 'sni', strict: true, timeout: 60_000, wait: 60_000 } as const
  const port = portOf(await server.listen({ port: 0, host: '127.0.0.1', proxyProtocol, sticky }))
  const { pool } = forkFixture(server, 'https-slot', { workers: 2 })
  await pool.ready
  const front = await startNginx(
    t,
    'stream',
    `server { listen 127.0.0.1:PORT; proxy_pass 127.0.0.1:${port}; proxy_protocol on; }`,
  )
  const ask = async () => JSON.parse((await fetchOnce(front, { secure: true, servername: 'one.test' })).body)
  await until(() => ask().then(Boolean, () => false))
  const first = await ask()
  t.like(first, { host: 'one.test', remoteAddress: '127.0.0.1', localPort: front })
  t.is((await ask()).slot, first.slot)
  const { routed } = server.stats()
  t.deepEqual(Object.keys(routed).sort(), ['proxied', 'sticky'])
  t.is(routed['proxied'], routed['sticky'])
})

nginxTest('behind nginx with a connection per request, each session returns to its slot', async (t) => {
  const server = startServer(t)
  const port = portOf(
    await server.listen({ port: 0, host: '127.0.0.1', sticky: { query: 'sid', timeout: 60_000, wait: 60_000 } }),
  )
  const { pool } = forkFixture(server, 'session-server', { workers: 3 })
  await pool.ready
  const front = await startNginx(
    t,
    'http',
    `server { listen 127.0.0.1:PORT; location / { proxy_pass http://127.0.0.1:${port}; proxy_http_version 1.1; } }`,
  )
  await until(() => fetchOnce(front).then(Boolean, () => false))
  const begun = await Promise.all(Array.from({ length: 30 }, () => fetchOnce(front)))
  for (const { body } of begun) {
    const { id, slot } = JSON.parse(body)
    const again = await fetchOnce(front, { path: `/?sid=${id}` })
    t.deepEqual({ status: again.status, ...JSON.parse(again.body) }, { status: 200, id, slot })
  }
})

nginxTest('behind nginx with kept connections, no request fails through a reload', async (t) => {
  const server = startServer(t)
  const port = portOf(await server.listen({ port: 0, host: '127.0.0.1' }))
  const { pool } = forkFixture(server, 'tell-client', { args: ['http'], workers: 2 })
  await pool.ready
  const front = await startNginx(
    t,
    'http',
    `upstream app { server 127.0.0.1:${port} max_fails=0; keepalive 8; }
    server {
      listen 127.0.0.1:PORT;
      location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }
    }`,
  )
  await until(() => fetchOnce(front).then(Boolean, () => false))
  let isOver = false
  const statuses = new Map<number | undefined, number>()
  const load = Array.from({ length: 8 }, async () => {
    while (!isOver) {
      const { status } = await fetchOnce(front)
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
  })
  await until(() => (statuses.get(200) ?? 0) > 100)
  await pool.reload()
  const before = statuses.get(200) ?? 0
  await until(() => (statuses.get(200) ?? 0) > before + 100)
  isOver = true
  await Promise.all(load)
  t.deepEqual([...statuses.keys()], [200])
  // nginx keeps its connections.
  t.true(server.stats().accepted < (statuses.get(200) ?? 0))
})
