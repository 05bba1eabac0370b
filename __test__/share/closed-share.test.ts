import { EventEmitter } from 'node:events'
import test from 'ava'
import { library } from '../helpers/library.js'
import { noFacts } from '../helpers/no-facts.js'

const { Shares } = library('server/share/shares')

test('a closed share is removed, and the channel of a worker that is admitted afterwards is ended', async (t) => {
  const unshared: number[] = []
  const ended: number[] = []
  let shares = 0
  const native = {
    share: () => ({ share: shares++ }),
    unshare: (share: number) => unshared.push(share),
    endChannel: (channel: number) => ended.push(channel),
    retire: () => t.fail(),
    channelStats: () => null,
    utilization: () => null,
  }
  const open = new Shares(new EventEmitter(), native, {
    takeId: () => 1,
    changed: () => t.fail(),
    facts: noFacts(),
  })
  const settings = { path: '/a', mode: 0o600, uids: [], gids: [], maxWorkers: 1, helloTimeoutMs: 1, drainTimeout: 1 }
  for (let share = 0; share < 3; share += 1) await open.open(settings).close()
  t.deepEqual(unshared, [0, 1, 2])
  // Shares that are still known would be stopped again.
  await open.stop(() => 1)
  t.deepEqual(unshared, [0, 1, 2])
  open.admitted({ kind: 'admitted', channel: 7, share: 1, pid: 1, uid: 0, gid: 0 })
  t.deepEqual(ended, [7])
})
