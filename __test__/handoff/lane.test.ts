// How many connections a lane asks for: never more than its concurrency, and never more than its owner demands.

import { setImmediate as turn } from 'node:timers/promises'
import test from 'ava'
import fc from 'fast-check'
import type { LaneChannel } from '../../dist/lib/client/channel/lane.js'
import { library } from '../helpers/library.js'
import { until } from '../helpers/until.js'

const { Lane } = library('client/channel/lane')
const { exchangeTable, ReceivedConnection } = library('client/connection/received-connection')

/** Replaces the native side: sends as many connections as the credit allows and the parent has. */
class FakeChannel implements LaneChannel {
  readonly listeners = []
  readonly awaitsListeners = false
  readonly ticketKeys = undefined
  readonly phase = { phase: 'open' as const }
  supply = 0
  ended = 0
  /** The tracked connections whose ends are to be reported. */
  readonly tracked: number[] = []
  worstCredit = 0
  exchanges = 0
  /** Whether the parent waits for the report of an ended lease. */
  isAwaited = false
  #credit = 0
  isStopped = false

  add(): void {}

  remove(): void {}

  leaseEnded(): boolean {
    this.ended += 1
    return this.isAwaited
  }

  trackedEnded(id: number): void {
    this.tracked.push(id)
  }

  stopped(): void {
    this.isStopped = true
  }

  exchange(_lane: unknown, room: number, window: number): InstanceType<typeof ReceivedConnection>[] {
    this.exchanges += 1
    const taken: InstanceType<typeof ReceivedConnection>[] = []
    while (this.supply > 0 && taken.length < room && this.#credit > 0) {
      this.supply -= 1
      this.#credit -= 1
      taken.push(new ReceivedConnection(exchangeTable(), 0))
    }
    this.#credit = Math.min(window, room - taken.length)
    this.worstCredit = Math.max(this.worstCredit, this.#credit)
    return taken
  }
}

interface Setup {
  channel: FakeChannel
  lane: InstanceType<typeof Lane>
  owner: { wanted: number; received: number; worst: number }
}

function setUp(): Setup {
  const channel = new FakeChannel()
  const owner = { wanted: 0, received: 0, worst: 0 }
  const lane: InstanceType<typeof Lane> = new Lane(0, channel, {
    demand: () => owner.wanted,
    receive: () => {
      owner.received += 1
      owner.wanted -= 1
      owner.worst = Math.max(owner.worst, lane.leases)
    },
    exhausted: () => {},
    phaseChanged: () => {},
    listenersChanged: () => {},
  })
  return { channel, lane, owner }
}

test('leases and credit never exceed the concurrency, and every demanded connection arrives', async (t) => {
  const step = fc.record({ supply: fc.nat(5), want: fc.nat(5), over: fc.nat(5) })
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 6 }), fc.array(step, { maxLength: 30 }), async (concurrency, steps) => {
      const { channel, lane, owner } = setUp()
      lane.concurrency = concurrency
      let wanted = 0
      let supplied = 0
      let over = 0
      for (const next of steps) {
        channel.supply += next.supply
        supplied += next.supply
        owner.wanted += next.want
        wanted += next.want
        lane.pump()
        for (let i = 0; i < next.over && lane.leases > 0; i++) {
          lane.leaseEnded(1)
          over += 1
        }
        await turn()
        lane.pump()
      }
      // The native side would wake the lane for each connection.
      for (let pumps = 0; pumps < 200; pumps++) {
        lane.pump()
        for (; lane.leases > 0; over++) lane.leaseEnded(1)
      }
      t.is(owner.received, Math.min(wanted, supplied))
      t.true(owner.worst <= concurrency)
      t.true(channel.worstCredit <= concurrency)
      lane.stop()
      t.is(channel.ended, over)
      t.true(channel.isStopped)
    }),
    { numRuns: 50 },
  )
})

test('an owner with unlimited demand has a bounded credit and gets all connections', (t) => {
  const { channel, lane, owner } = setUp()
  owner.wanted = Number.POSITIVE_INFINITY
  lane.pump()
  t.true(channel.worstCredit >= 1 && channel.worstCredit <= 253, 'no more than the descriptors of one message')
  channel.supply = 1000
  for (let i = 0; i < 100; i++) lane.pump()
  t.is(owner.received, 1000)
})

test('many requests in one tick are one exchange', async (t) => {
  const { channel, lane, owner } = setUp()
  let exchanges = 0
  const exchange = channel.exchange.bind(channel)
  channel.exchange = (...args) => {
    exchanges += 1
    return exchange(...args)
  }
  for (let i = 0; i < 10; i++) {
    owner.wanted += 1
    lane.pumpSoon()
  }
  await turn()
  t.is(exchanges, 1)
  t.is(channel.worstCredit, 10)
})

test('an ended lease is counted at once, and reported soon if the parent waits for it', async (t) => {
  const { channel, lane, owner } = setUp()
  owner.wanted = 3
  lane.pump()
  channel.supply = 3
  lane.pump()
  const { exchanges } = channel
  lane.leaseEnded(1)
  t.is(channel.ended, 1)
  channel.isAwaited = true
  lane.leaseEnded(1)
  lane.leaseEnded(1)
  t.is(channel.ended, 3)
  t.is(channel.exchanges, exchanges)
  await until(() => channel.exchanges > exchanges)
  t.is(channel.exchanges, exchanges + 1)
})

test('a stopped lane asks for nothing and still reports ended leases', (t) => {
  const { channel, lane, owner } = setUp()
  owner.wanted = 3
  lane.pump()
  channel.supply = 2
  lane.pump()
  t.is(lane.leases, 2)
  lane.stop()
  channel.supply = 5
  lane.leaseEnded(1)
  lane.pump()
  t.is(owner.received, 2)
  t.is(channel.ended, 1)
})

test('the end of a tracked connection is reported in the same turn of the event loop', async (t) => {
  const { channel, lane, owner } = setUp()
  owner.wanted = Number.POSITIVE_INFINITY
  lane.pump()
  channel.supply = 2
  lane.pump()
  await turn()
  const { exchanges } = channel
  lane.leaseEnded(1)
  await turn()
  t.is(channel.exchanges, exchanges, 'the credit is still full')
  lane.leaseEnded(1, 7)
  await turn()
  t.is(channel.exchanges, exchanges + 1)
  t.deepEqual(channel.tracked, [7])
})
