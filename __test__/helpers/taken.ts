import type { Pool } from '@socketserver/node'
import type { Reports } from './reports.js'
import { until } from './until.js'

/** Asks the workers of a pool how many connections they have taken and returns the sum. */
export async function countTaken(pool: Pool, reports: Reports): Promise<number> {
  const before = reports.count('count')
  const workers = pool.workers
  for (const { process: child } of workers) child.send('count')
  await until(() => reports.count('count') === before + workers.length)
  const counts = reports.all.filter(({ event }) => event === 'count').slice(before)
  return counts.reduce((sum, { taken }) => sum + Number(taken), 0)
}
