// One run: a kind of workers, the load, the disturbances and the verdict.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createServer } from '@socketserver/node'
import type { Teardown } from '../helpers/load.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { askAll } from './clients.js'
import { type Disturbances, disturb } from './disturbances.js'
import { judge, type Verdict } from './verdict.js'

export type Way = 'processes' | 'threads' | 'cluster'

export interface Soaked extends Verdict, Omit<Disturbances, 'kills'> {
  way: Way
  seconds: number
}

export interface Plan {
  way: Way
  /** How many requests: 1 is 32,600. */
  scale: number
  /** Whether workers are killed as well. */
  withKills: boolean
}

/** Sends requests while workers are reloaded, resized and killed. */
export async function soak(t: Teardown, plan: Plan): Promise<Soaked> {
  const { way } = plan
  const directory = temporaryDirectory(t)
  const began = performance.now()
  const { asked, disturbances } = await (way === 'cluster' ? ofCluster : ofPool)(t, plan, directory)
  const { kills, ...counts } = disturbances
  return { way, ...judge(asked, kills), ...counts, seconds: (performance.now() - began) / 1000 }
}

interface Run {
  asked: Awaited<ReturnType<typeof askAll>>
  disturbances: Disturbances
}

async function ofPool(t: Teardown, { way, scale, withKills }: Plan, directory: string): Promise<Run> {
  const server = createServer()
  t.teardown(() => server.destroy())
  // Failed reloads reject their promise; threads that call process.exit() emit errors too.
  server.on('error', () => {})
  const { port } = await server.listen(0, '127.0.0.1')
  const options = {
    workers: 4,
    execArgv: [],
    env: { ...process.env, SOAK_NOTES: directory },
    // Workers are killed soon after their start, which must not count as a crash loop.
    restart: { minUptime: 0, minDelay: 50 },
  }
  const pool = way === 'threads' ? server.threads(WORKER, options) : server.fork(WORKER, options)
  await pool.ready
  const asking = askAll(t, port, scale, directory)
  const disturbances = await disturb(server, pool, asking, { directory, withKills })
  return { asked: await asking, disturbances }
}

async function ofCluster(t: Teardown, { scale, withKills }: Plan, directory: string): Promise<Run> {
  const primary = fork(join(__dirname, 'cluster-primary.js'), {
    execArgv: [],
    env: { ...process.env, SOAK_NOTES: directory, SOAK_KILLS: withKills ? 'yes' : 'no' },
  })
  t.teardown(() => primary.kill('SIGKILL'))
  const [port] = await once(primary, 'message')
  const asked = await askAll(t, Number(port), scale, directory)
  const message = once(primary, 'message')
  primary.send('stop')
  const [disturbances] = await message
  const { kills, ...counts } = disturbances
  // IPC messages cannot contain sets.
  const withPorts = kills.map((kill: { ports: number[] }) => ({ ...kill, ports: new Set(kill.ports) }))
  return { asked, disturbances: { ...counts, kills: withPorts } }
}

const WORKER = join(__dirname, 'worker.js')
