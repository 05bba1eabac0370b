// System calls by connection, as strace counts them: where the time goes that the processor spends in the kernel.
//
//     node benchmarks/system-calls.mjs [--node PATH]
//
// A process that is traced is many times slower, so more waits for it at a time and more is done in one turn: what can be
// shared between connections (epoll_pwait, recvmsg, sendmsg) is counted too low for a server at leisure.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Failed, main } from '../scripts/steps.mjs'
import { load } from './harness/load.mjs'
import { parseOptions } from './harness/options.mjs'
import { peers } from './harness/peer.mjs'
import { PeerProcess } from './harness/peer-process.mjs'
import { use } from './harness/processes.mjs'

const CLIENTS = [1, 64]
const CONNECTIONS = 4000
/** Calls by connection below which they belong to something else, as a timer. */
const WORTH_TELLING = 0.01

/** @typedef {Map<string, number>} Calls by connection, by name */

/** @param {readonly string[]} args */
async function systemCalls(args) {
  const options = parseOptions(args, [])
  if (options === undefined) throw new Failed('node benchmarks/system-calls.mjs [--node PATH]')
  const folder = mkdtempSync(join(tmpdir(), 'socketserver-strace-'))
  try {
    for (const clients of CLIENTS) {
      const wanted = { behaviour: /** @type {const} */ ('short'), workers: 2 }
      const shared = await traced(peers.shared(wanted), options, clients, folder)
      const ours = await traced(peers.processes(wanted), options, clients, folder)
      const columns = [shared.others, ours.others, ours.first]
      const names = [...new Set(columns.flatMap((column) => [...column.keys()]))]
      const most = (/** @type {string} */ name) => Math.max(...columns.map((column) => column.get(name) ?? 0))
      const rows = names
        .filter((name) => most(name) >= WORTH_TELLING)
        .sort((a, b) => most(b) - most(a))
        .map((name) => [name, ...columns.map((column) => column.get(name) ?? 0)])
      const sum = columns.map((column) => [...column.values()].reduce((total, calls) => total + calls, 0))
      console.log(
        `\nNode ${options.version}, ${clients === 1 ? 'one client' : `${clients} clients`} at a time, 2 workers\n`,
      )
      console.log(
        '| calls by connection | SCHED_NONE, workers | here, workers | here, parent |\n| --- | ---: | ---: | ---: |',
      )
      for (const [name, ...calls] of [...rows, ['all', ...sum]]) {
        console.log(
          `| ${name} | ${calls.map((count) => (Number(count) === 0 ? '' : Number(count).toFixed(2))).join(' | ')} |`,
        )
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * The calls of a peer's main process, and of the others together.
 *
 * @param {import('./harness/peer.mjs').Peer} peer
 * @param {import('./harness/options.mjs').Options} options
 * @param {number} clients
 * @param {string} folder
 */
async function traced(peer, options, clients, folder) {
  const server = await PeerProcess.start(peer, options)
  try {
    const run = { mode: /** @type {const} */ ('closed'), port: server.port, least: CONNECTIONS }
    await server.during(load({ ...run, options: { clients, connections: CONNECTIONS } }))
    const pids = [...use(server.pid).keys()]
    const tracers = [
      await attached([server.pid], join(folder, 'first')),
      await attached(
        pids.filter((pid) => pid !== server.pid),
        join(folder, 'others'),
      ),
    ]
    await server.during(load({ ...run, options: { clients, connections: CONNECTIONS } }))
    const [first, others] = [await tracers[0]?.(), await tracers[1]?.()]
    if (first === undefined || others === undefined) throw new Failed('strace has counted nothing.')
    return { first, others }
  } finally {
    await server.stop()
  }
}

/**
 * Counts the calls of these processes from now on, until the result is called.
 *
 * @param {number[]} pids
 * @param {string} file
 */
async function attached(pids, file) {
  const which = pids.flatMap((pid) => ['-p', String(pid)])
  const strace = spawn('strace', ['-f', '-c', '-o', file, ...which], { stdio: ['ignore', 'ignore', 'pipe'] })
  const closed = once(strace, 'close')
  closed.catch(() => {})
  let said = ''
  await new Promise((/** @type {(nothing?: undefined) => void} */ resolve, reject) => {
    strace.on('error', () => reject(new Failed('strace was not found on the PATH.')))
    strace.on('exit', () => reject(new Failed(`strace cannot look at the server: ${said}`)))
    strace.stderr.setEncoding('utf8').on('data', (text) => {
      said += text
      if (pids.every((pid) => said.includes(`Process ${pid} attached`))) resolve()
    })
  })
  return async () => {
    strace.kill('SIGINT')
    await closed
    return counted(readFileSync(file, 'utf8'))
  }
}

/**
 * The table that `strace -c` writes.
 *
 * @param {string} text
 * @returns {Calls}
 */
function counted(text) {
  const rows = text.split('\n').flatMap((line) => {
    const [time, , , calls, ...rest] = line.trim().split(/\s+/)
    const name = rest.at(-1)
    if (name === undefined || name === 'total' || !/^[\d.]+$/.test(time ?? '') || !/^\d+$/.test(calls ?? '')) return []
    return [/** @type {const} */ ([name, Number(calls) / CONNECTIONS])]
  })
  return new Map(rows)
}

await main(() => systemCalls(process.argv.slice(2)))
