// Compares `socketserver run` with PM2's cluster mode and with a primary of node:cluster, on one unchanged app.
//
//     node benchmarks/supervisors.mjs                          after `npm run build`; about 15 minutes on 2 cores
//     node benchmarks/supervisors.mjs --rounds 1 --reloads 5 --kills 5
//     node benchmarks/supervisors.mjs --only socketserver      one of socketserver, pm2, cluster
//
// Installs PM2 into a temporary folder, with PM2_HOME there, and ends its daemon.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism, constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { markdownTable } from 'markdown-table'
import { max, median, min } from 'simple-statistics'
import { Failed, main, root, run, step } from '../scripts/steps.mjs'
import { load } from './harness/load.mjs'
import { cpuBetween, usage } from './harness/processes.mjs'
import { ask, Clients } from './supervisors/clients.mjs'
import { cluster, pm2, socketserver } from './supervisors/kinds.mjs'

/** @typedef {import('./supervisors/kinds.mjs').Kind} Kind */
/** @typedef {import('./supervisors/kinds.mjs').Supervisor} Supervisor */

const APP = join(root, 'benchmarks', 'supervisors', 'app.cjs')
const WORKERS = 2
const CLIENTS = { fresh: 12, kept: 4 }
/** Milliseconds between two kills: each worker runs for longer than any supervisor's limit for a quick exit. */
const BETWEEN_KILLS = 1300
const WITHIN = 60_000

/** A running app with its supervisor. */
class Running {
  /** @type {Running | undefined} */
  static latest

  /**
   * @param {Supervisor} supervisor
   * @param {number} port
   * @param {string} app
   */
  constructor(supervisor, port, app) {
    this.supervisor = supervisor
    this.port = port
    this.app = app
  }

  /**
   * Starts the app and resolves when all workers have answered.
   *
   * @param {Kind} kind
   * @param {string} folder
   * @param {Record<string, string>} env
   */
  static async start(kind, folder, env = {}) {
    const port = await freePort()
    const app = join(folder, 'app.cjs')
    writeFileSync(app, readFileSync(APP))
    const running = new Running(kind.create({ folder, app, port, workers: WORKERS, env }), port, app)
    Running.latest = running
    try {
      await running.supervisor.start()
      await running.workers()
    } catch (error) {
      await running.supervisor.stop()
      throw error
    }
    return running
  }

  /** Asks until all workers have answered, and returns their process ids. */
  async workers() {
    const deadline = performance.now() + WITHIN
    /** @type {Set<number>} */
    const pids = new Set()
    while (pids.size < WORKERS) {
      if (performance.now() > deadline) throw new Failed(`Only ${pids.size} of ${WORKERS} workers have answered.`)
      const answers = await Promise.allSettled(Array.from({ length: 2 * WORKERS }, () => ask(this.port, '/slow')))
      for (const answer of answers) if (answer.status === 'fulfilled') pids.add(answer.value)
      await delay(5)
    }
    return [...pids]
  }

  /** The processes of the supervisor and its workers. */
  processes() {
    return usage(this.supervisor.pid())
  }
}

/**
 * Measures how long it takes until all workers have answered.
 *
 * @param {Kind} kind
 * @param {string} folder
 */
async function timeToReady(kind, folder) {
  const started = performance.now()
  const running = await Running.start(kind, folder)
  const time = performance.now() - started
  await running.supervisor.stop()
  return time
}

/**
 * Measures the CPU time of all processes for each request, in microseconds, and the resident memory of the processes that are no workers, in bytes.
 *
 * @param {Kind} kind
 * @param {string} folder
 */
async function costs(kind, folder) {
  const running = await Running.start(kind, folder)
  const { port, supervisor } = running
  try {
    const keptLoad = { mode: /** @type {const} */ ('http'), port, least: 100 }
    await load({ ...keptLoad, options: { clients: 32, seconds: 2 } })
    await freshRequests(port, 1000)
    const workers = new Set(await running.workers())
    const beside = [...running.processes().values()].filter(({ pid }) => !workers.has(pid))
    const memory = beside.reduce((sum, process) => sum + process.memory, 0)
    const beforeKept = running.processes()
    const { outcomes } = await load({ ...keptLoad, options: { clients: 32, seconds: 4 } })
    const beforeFresh = running.processes()
    await freshRequests(port, 4000)
    const after = running.processes()
    const kept = cpuBetween(supervisor.pid(), beforeKept, beforeFresh).all / (outcomes['ok'] ?? Number.NaN)
    const fresh = cpuBetween(supervisor.pid(), beforeFresh, after).all / 4000
    return { kept, fresh, memory }
  } finally {
    await supervisor.stop()
  }
}

/**
 * Sends requests, 16 at a time, each on a connection of its own.
 *
 * @param {number} port
 * @param {number} count
 */
async function freshRequests(port, count) {
  let left = count
  const client = async () => {
    while (left-- > 0) await ask(port, '/')
  }
  await Promise.all(Array.from({ length: 16 }, client))
}

/**
 * Counts the requests that are lost while the app is reloaded again and again.
 *
 * @param {Kind} kind
 * @param {string} folder
 * @param {number} times
 * @param {Record<string, string>} env
 */
async function reloads(kind, folder, times, env) {
  const running = await Running.start(kind, folder, env)
  const clients = new Clients(running.port, CLIENTS)
  try {
    await delay(500)
    const started = performance.now()
    for (let count = 0; count < times; count++) {
      const { code, output } = await running.supervisor.reload()
      if (code !== 0) throw new Failed(`The reload has failed: ${output}`)
    }
    const seconds = (performance.now() - started) / 1000 / times
    await delay(500)
    await clients.stop()
    return { ...clients.lost, answered: clients.answered, processes: clients.seen.size, seconds }
  } finally {
    await clients.stop()
    await running.supervisor.stop()
  }
}

/**
 * Counts the requests that are lost while workers are killed, one after the other.
 *
 * @param {Kind} kind
 * @param {string} folder
 * @param {number} times
 */
async function kills(kind, folder, times) {
  const running = await Running.start(kind, folder)
  const clients = new Clients(running.port, CLIENTS)
  try {
    for (let count = 0; count < times; count++) {
      await delay(BETWEEN_KILLS)
      const deadline = performance.now() + WITHIN
      let before = clients.since(performance.now() - 500)
      while (before.length < WORKERS) {
        if (performance.now() > deadline) throw new Failed('The killed worker has no successor.')
        await delay(20)
        before = clients.since(performance.now() - 500)
      }
      const [oldest] = before
      if (oldest !== undefined) process.kill(oldest, 'SIGKILL')
      await delay(600)
    }
    await delay(1000)
    await clients.stop()
    return { ...clients.lost, answered: clients.answered, processes: clients.seen.size }
  } finally {
    await clients.stop()
    await running.supervisor.stop()
  }
}

/**
 * Reloads to a release that does not start, and returns what the supervisor says and whether the app still answers.
 *
 * @param {Kind} kind
 * @param {string} folder
 */
async function brokenRelease(kind, folder) {
  const running = await Running.start(kind, folder)
  try {
    const before = await running.workers()
    writeFileSync(running.app, "throw new Error('no database')\n")
    const clients = new Clients(running.port, CLIENTS)
    const { code, output } = await running.supervisor.reload()
    const reloaded = performance.now()
    await delay(5000)
    const after = clients.since(reloaded + 2500)
    await clients.stop()
    const serving = before.filter((pid) => after.includes(pid)).length
    return { code, output, serving, lost: clients.lost.fresh + clients.lost.kept, answered: clients.answered }
  } finally {
    await running.supervisor.stop()
  }
}

/** Returns a port that is free now. @returns {Promise<number>} */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** @param {string} folder */
async function installPm2(folder) {
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
  await run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', 'pm2'], { cwd: folder })
  const manifest = JSON.parse(readFileSync(join(folder, 'node_modules', 'pm2', 'package.json'), 'utf8'))
  return String(manifest.version)
}

/** @param {number[]} values @param {number} digits */
const spreadText = (values, digits) =>
  `${median(values).toFixed(digits)} (${min(values).toFixed(digits)}-${max(values).toFixed(digits)})`

/** @param {{ fresh: number, kept: number, answered: number }} result */
const lostText = ({ fresh, kept, answered }) => `${fresh} + ${kept} of ${answered + fresh + kept}`

/** What is measured in rounds: the name, the digits to print, and the factor to the unit of the name. */
const ROUND_METRICS = /** @type {const} */ ([
  ['ready', 'until both workers answer, ms', 0, 1],
  ['kept', 'CPU for each request, kept connection, us', 1, 1],
  ['fresh', 'CPU for each request, new connection, us', 1, 1],
  ['memory', 'memory beside the workers, MB', 1, 1e-6],
])

/** @typedef {{ ready: number, kept: number, fresh: number, memory: number }} Round */

/**
 * Returns an empty folder.
 *
 * @param {string} parent
 * @param {string} name
 */
function emptyFolder(parent, name) {
  const path = join(parent, name)
  rmSync(path, { recursive: true, force: true })
  mkdirSync(path)
  return path
}

/**
 * Measures what depends on the load of the machine. Each round has all kinds, so that ratios within a round can be compared.
 *
 * @param {readonly Kind[]} kinds
 * @param {string} folder
 * @param {number} count
 */
async function measureRounds(kinds, folder, count) {
  /** @type {Map<Kind, Round[]>} */
  const rounds = new Map(kinds.map((kind) => [kind, []]))
  for (let round = 0; round < count; round++) {
    for (const [kind, all] of rounds) {
      const ready = await timeToReady(kind, emptyFolder(folder, 'ready'))
      all.push({ ready, ...(await costs(kind, emptyFolder(folder, 'costs'))) })
    }
  }
  return rounds
}

/** @param {Kind} kind @param {string} folder @param {{ reloads: number, kills: number }} counts */
async function disturb(kind, folder, counts) {
  const plain = await reloads(kind, emptyFolder(folder, 'reloads'), counts.reloads, {})
  const graceful = await reloads(kind, emptyFolder(folder, 'graceful'), counts.reloads, { GRACEFUL: 'yes' })
  const killed = await kills(kind, emptyFolder(folder, 'kills'), counts.kills)
  const broken = await brokenRelease(kind, emptyFolder(folder, 'broken'))
  const values = {
    [`requests lost in ${counts.reloads} reloads`]: lostText(plain),
    'the same, app with a handler that closes its server': lostText(graceful),
    'seconds for a reload': plain.seconds.toFixed(1),
    [`requests lost in ${counts.kills} kills`]: lostText(killed),
    'reload to a release that throws: exit code': String(broken.code),
    'the same: old workers that serve on': `${broken.serving} of ${WORKERS}`,
    'the same: requests lost': `${broken.lost} of ${broken.answered + broken.lost}`,
  }
  return { values, output: broken.output }
}

await main(async () => {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      reloads: { type: 'string', default: '20' },
      kills: { type: 'string', default: '20' },
      only: { type: 'string' },
    },
  })
  const counts = { rounds: Number(values.rounds), reloads: Number(values.reloads), kills: Number(values.kills) }
  const folder = mkdtempSync(join(tmpdir(), 'socketserver-supervisors-'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
    // PM2's daemon would outlive this script.
    process.once(signal, async () => {
      await Running.latest?.supervisor.stop()
      remove()
      process.exit(128 + constants.signals[signal])
    })
  }
  try {
    /** @type {Kind[]} */
    const kinds = []
    let version = ''
    const isWanted = (/** @type {string} */ name) => values.only === undefined || values.only === name
    if (isWanted('socketserver')) kinds.push(socketserver)
    if (isWanted('pm2')) {
      version = await step('Installing PM2', () => installPm2(join(folder, 'modules')))
      kinds.push(pm2(join(folder, 'modules')))
    }
    if (isWanted('cluster')) kinds.push(cluster)
    if (kinds.length === 0) throw new Failed(`--only must be socketserver, pm2 or cluster, not '${values.only}'.`)
    const rounds = await step(`${counts.rounds} rounds`, () => measureRounds(kinds, folder, counts.rounds))
    /** @type {Map<Kind, Awaited<ReturnType<typeof disturb>>>} */
    const disturbed = new Map()
    for (const kind of kinds) disturbed.set(kind, await step(kind.name, () => disturb(kind, folder, counts)))
    const versions = `Node ${process.version}${version === '' ? '' : `, PM2 ${version}`}`
    console.log(`${versions}, ${WORKERS} workers, ${availableParallelism()} cores, ${counts.rounds} rounds.`)
    console.log(
      'Requests are lost on new connections + on kept connections, of all requests. Ratios are taken within rounds.\n',
    )
    const [first, ...others] = kinds
    const head = ['', ...kinds.map(({ name }) => name), ...others.map(({ name }) => `${first?.name} / ${name}`)]
    const measured = ROUND_METRICS.map(([metric, title, digits, factor]) => {
      const of = (/** @type {Kind | undefined} */ kind) =>
        (kind === undefined ? [] : (rounds.get(kind) ?? [])).map((round) => round[metric] * factor)
      const ratios = others.map((other) => of(first).map((value, round) => value / (of(other)[round] ?? Number.NaN)))
      return [title, ...kinds.map((kind) => spreadText(of(kind), digits)), ...ratios.map((all) => spreadText(all, 2))]
    })
    const counted = Object.keys([...disturbed.values()][0]?.values ?? {}).map((title) => [
      title,
      ...kinds.map((kind) => disturbed.get(kind)?.values[title] ?? '-'),
      ...others.map(() => ''),
    ])
    console.log(markdownTable([head, ...measured, ...counted], { align: ['l', ...head.slice(1).map(() => 'r')] }))
    for (const [{ name }, { output }] of disturbed) console.log(`\n${name}, of a release that throws:\n\n${output}`)
  } finally {
    remove()
  }
})
