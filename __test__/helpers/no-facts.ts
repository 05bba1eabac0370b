import { library } from './library.js'

const { Facts } = library('server/observe/facts')

/** Returns facts that are reported nowhere. */
export function noFacts(): InstanceType<typeof Facts> {
  const nothing = (): void => {}
  return new Facts({
    setPool: nothing,
    poolWasReady: nothing,
    assign: nothing,
    setWorker: nothing,
    removeWorker: nothing,
    count: nothing,
    addEvent: nothing,
  })
}
