import test from 'ava'
import { serve } from '../helpers/served.js'
import { TlsSession } from '../helpers/tls-session.js'

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`a ${maxVersion} session that one worker began is resumed by every other`, async (t) => {
    const { port } = await serve(t, 'serve-tls-pid', { workers: 3, server: { policy: 'round-robin' } })
    const client = new TlsSession({ maxVersion })
    t.false(await client.visit(port))
    for (let i = 0; i < 29; i++) t.true(await client.visit(port))
    t.is(client.answers.size, 3)
  })
}

for (const how of ['option', 'call']) {
  test(`ticket keys of the application win, set by an ${how}`, async (t) => {
    const client = new TlsSession()
    const servers = [
      await serve(t, 'serve-tls-keys', { args: [how] }),
      await serve(t, 'serve-tls-keys', { args: [how] }),
    ]
    const [one, other] = servers
    if (one === undefined || other === undefined) return t.fail()
    t.false(await client.visit(one.port))
    t.true(await client.visit(one.port))
    // Another server with other shared keys.
    t.true(await client.visit(other.port))
  })
}

test('a session goes on after the certificate has been replaced', async (t) => {
  const { port } = await serve(t, 'serve-tls-renewing', { workers: 1 })
  const client = new TlsSession()
  t.false(await client.visit(port))
  t.true(await client.visit(port))
})
