import { text } from 'node:stream/consumers'
import { connect } from 'node:tls'
import test from 'ava'
import { serve } from '../helpers/served.js'
import { within } from '../helpers/within.js'

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`a ${maxVersion} session that one worker began is resumed by every other`, async (t) => {
    const { port } = await serve(t, 'serve-tls-pid', { workers: 3, server: { policy: 'round-robin' } })
    const pids = new Set<string>()
    let session: Buffer | undefined
    const visit = async (): Promise<boolean> => {
      const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, maxVersion, session })
      let isReused = false
      socket.on('secureConnect', () => {
        isReused = socket.isSessionReused()
      })
      socket.on('session', (next: Buffer) => {
        session = next
      })
      pids.add(await within(text(socket), 'an answer over TLS'))
      return isReused
    }
    t.false(await visit())
    for (let i = 0; i < 29; i++) t.true(await visit())
    t.is(pids.size, 3)
  })
}
