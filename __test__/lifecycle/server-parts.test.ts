// Small parts of the parent's side.

import { EventEmitter } from 'node:events'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { library } from '../helpers/library.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'

const { SocketServerError } = library('errors')
const { errorAddress, fromNative } = library('address')
const { Drain } = library('server/drain')
const { RepeatedErrors } = library('server/repeated-errors')
const { resolveEntry } = library('server/pool/resolve-entry')
const { Shares } = library('server/share/shares')

test('addresses have the shape of net', (t) => {
  const tcp = { family: 'IPv6', address: '::', port: 80 }
  t.deepEqual(fromNative(tcp), { address: '::', family: 'IPv6', port: 80 })
  t.deepEqual(fromNative({ family: 'Unix', address: '/a', port: 0 }), { path: '/a' })
  t.deepEqual(errorAddress(fromNative(tcp)), { address: '::', port: 80 })
  t.deepEqual(errorAddress({ path: '/a' }), { address: '/a', port: -1 })
})

test('an entry is found as node finds what it is to run, and keeps the name that it was given', (t) => {
  const directory = temporaryDirectory(t)
  mkdirSync(join(directory, 'folder'))
  for (const name of ['worker.js', 'folder/index.js', 'other.mjs']) writeFileSync(join(directory, name), '')
  symlinkSync(join(directory, 'worker.js'), join(directory, 'link.js'))
  for (const entry of ['worker.js', './worker', 'folder', 'folder/index.js', 'other.mjs', 'link.js']) {
    t.is(resolveEntry(entry, directory), join(directory, entry), entry)
    t.is(resolveEntry(entry, pathToFileURL(directory)), join(directory, entry), entry)
    t.is(resolveEntry(join(directory, entry), '/nowhere'), join(directory, entry), entry)
  }
  t.is(resolveEntry(pathToFileURL(join(directory, 'worker.js'))), join(directory, 'worker.js'))
  for (const entry of ['other', 'nothing.js', 'fs', 'typescript']) {
    t.throws(() => resolveEntry(entry, directory), { code: 'ERR_SOCKETSERVER_ENTRY_NOT_FOUND' }, entry)
  }
})

test('a drain is begun once, and waited for by each as long as it likes', async (t) => {
  let begun = 0
  let held = { queued: 1, leases: 2 }
  const drain = new Drain({ drain: () => (begun += 1), stats: () => held })
  const patient = drain.wait(60_000)
  t.deepEqual(await drain.wait(1), { complete: false, queued: 1, leases: 2 })
  t.is(begun, 1)
  held = { queued: 0, leases: 0 }
  drain.settle()
  t.deepEqual(await patient, { complete: true, queued: 0, leases: 0 })
  t.deepEqual(await drain.wait(60_000), { complete: true, queued: 0, leases: 0 })
  t.is(begun, 1)
})

test('a share that is closed is forgotten, and a worker admitted there too late is sent away', async (t) => {
  const unshared: number[] = []
  const ended: number[] = []
  let shares = 0
  const native = {
    share: () => ({ share: shares++ }),
    unshare: (share: number) => unshared.push(share),
    endChannel: (channel: number) => ended.push(channel),
    retire: () => t.fail(),
    channelStats: () => null,
  }
  const open = new Shares(new EventEmitter(), native, { takeId: () => 1, changed: () => t.fail() })
  const settings = { path: '/a', mode: 0o600, uids: [], gids: [], maxWorkers: 1, helloTimeoutMs: 1, drainTimeout: 1 }
  for (let share = 0; share < 3; share += 1) await open.open(settings).close()
  t.deepEqual(unshared, [0, 1, 2])
  // Shares that are still known would be stopped again.
  await open.stop(() => 1)
  t.deepEqual(unshared, [0, 1, 2])
  open.admitted({ kind: 'admitted', channel: 7, share: 1, pid: 1, uid: 0, gid: 0 })
  t.deepEqual(ended, [7])
})

test('errors of one kind are reported once, and then as one with their number', async (t) => {
  const messages: string[] = []
  await new Promise<void>((resolve) => {
    const alive = setInterval(() => {}, 1000)
    const errors = new RepeatedErrors(({ message }) => {
      messages.push(message)
      if (messages.length < 3) return
      clearInterval(alive)
      resolve()
    }, 1)
    const make = (kind: string) => (count: number) =>
      new SocketServerError('ERR_SOCKETSERVER_PROTOCOL', `${kind} ${count}`)
    for (let at = 0; at < 1000; at += 1) errors.add('a', make('a'))
    errors.add('b', make('b'))
  })
  t.deepEqual(messages, ['a 1', 'b 1', 'a 999'])
})
