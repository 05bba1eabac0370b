import test from 'ava'
import { library } from '../helpers/library.js'

const { Drain } = library('server/drain')

test('a drain starts once, and each caller waits for its own timeout', async (t) => {
  let drains = 0
  let held = { queued: 1, leases: 2 }
  const drain = new Drain({ drain: () => (drains += 1), stats: () => held })
  const longest = drain.wait(60_000)
  t.deepEqual(await drain.wait(1), { complete: false, queued: 1, leases: 2 })
  t.is(drains, 1)
  held = { queued: 0, leases: 0 }
  drain.settle()
  t.deepEqual(await longest, { complete: true, queued: 0, leases: 0 })
  t.deepEqual(await drain.wait(60_000), { complete: true, queued: 0, leases: 0 })
  t.is(drains, 1)
})
