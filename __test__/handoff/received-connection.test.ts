// The table rows that the native side writes connections to, and their addresses as text.

import { SocketAddress } from 'node:net'
import test from 'ava'
import fc from 'fast-check'
import { library } from '../helpers/library.js'

const { ReceivedConnection, exchangeTable } = library('client/connection/received-connection')

test('a connection is read from its own row', (t) => {
  const table = exchangeTable()
  table.set([7, 20, 1.5, 8888, 5000, 4, 0, 0x7f000001], 0)
  table.set([2 ** 40, 21, 0, 0, 0, 0, 1], 12)
  const shown = ({
    id,
    fd,
    waited,
    localPort,
    port,
    family,
    reissued,
    address,
  }: InstanceType<typeof ReceivedConnection>) => ({ id, fd, waited, localPort, port, family, reissued, address })
  t.deepEqual(shown(new ReceivedConnection(table, 0)), {
    id: 7,
    fd: 20,
    waited: 1.5,
    localPort: 8888,
    port: 5000,
    family: 'IPv4',
    reissued: false,
    address: '127.0.0.1',
  })
  t.deepEqual(shown(new ReceivedConnection(table, 1)), {
    id: 2 ** 40,
    fd: 21,
    waited: 0,
    localPort: undefined,
    port: undefined,
    family: 'Unix',
    reissued: true,
    address: undefined,
  })
})

test('a keeper owns the descriptor until a handle or the caller owns it', (t) => {
  const table = exchangeTable()
  table.set([1, 20, 0, 80, 5000, 4, 0, 0x7f000001], 0)
  const calls: unknown[] = []
  const handle = { open: (fd: number) => void calls.push(['open', fd]), close: () => {} }
  const keeper = {
    adoptBy: (adopter: unknown, fd: number) => {
      calls.push(['adoptBy', adopter === handle, fd])
      return -9
    },
    release: (fd: number) => void calls.push(['release', fd]),
  }
  const kept = new ReceivedConnection(table, 0, keeper)
  t.is(kept.adoptBy(handle), -9)
  t.is(kept.release(), 20)
  const own = new ReceivedConnection(table, 0)
  t.is(own.adoptBy(handle), 0)
  t.is(own.release(), 20)
  t.deepEqual(calls, [
    ['adoptBy', true, 20],
    ['release', 20],
    ['open', 20],
  ])
})

test('a connection does not change when its row is overwritten', (t) => {
  const table = exchangeTable()
  table.set([1, 20, 0, 80, 5000, 6, 0, 0x20010db8, 0, 0, 1, 0], 0)
  const connection = new ReceivedConnection(table, 0)
  table.fill(0xff)
  t.is(connection.address, '2001:db8::1')
})

test('an address has the same text as in Node', (t) => {
  const word = fc.oneof(fc.constant(0), fc.nat(0xffff), fc.integer({ min: 0, max: 0xffffffff }))
  const table = exchangeTable()
  fc.assert(
    fc.property(word, (a) => {
      table.set([1, 20, 0, 80, 5000, 4, 0, a], 0)
      const octets = [24, 16, 8, 0].map((shift) => (a >>> shift) & 255)
      t.is(new ReceivedConnection(table, 0).address, octets.join('.'))
    }),
  )
  fc.assert(
    // Without ::/32: the deprecated IPv4-compatible addresses in it have two notations.
    fc.property(fc.tuple(fc.integer({ min: 1, max: 0xffffffff }), word, word, word), (words) => {
      table.set([1, 20, 0, 80, 5000, 6, 0, ...words, 0], 0)
      const groups = words.flatMap((bits) => [bits >>> 16, bits & 0xffff].map((group) => group.toString(16)))
      const { address } = new SocketAddress({ family: 'ipv6', address: groups.join(':') })
      t.is(new ReceivedConnection(table, 0).address, address)
    }),
  )
})

test('an IPv4 client of a dual-stack listener has the same address as in Node', (t) => {
  const table = exchangeTable()
  table.set([1, 20, 0, 80, 5000, 6, 0, 0, 0, 0xffff, 0x7f000001, 0], 0)
  t.is(new ReceivedConnection(table, 0).address, '::ffff:127.0.0.1')
})

test('a link-local address has its zone', (t) => {
  const table = exchangeTable()
  table.set([1, 20, 0, 80, 5000, 6, 0, 0xfe800000, 0, 0, 1, 3], 0)
  t.is(new ReceivedConnection(table, 0).address, 'fe80::1%3')
})
