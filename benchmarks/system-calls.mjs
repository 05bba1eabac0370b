// Counts the system calls for each connection with strace.
//
//     node benchmarks/system-calls.mjs [--node PATH]
//
// strace slows a server down, so that more connections arrive in each event loop iteration. Calls that serve several
// connections at once (epoll_pwait, recvmsg, sendmsg) are therefore fewer than in a server without strace.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { markdownTable } from 'markdown-table'
import { Failed, main } from '../scripts/steps.mjs'
import { load } from './harness/load.mjs'
import { parseOptions } from './harness/options.mjs'
import { PeerProcess } from './harness/peer-process.mjs'
import { peers } from './harness/peers.mjs'
import { usage } from './harness/processes.mjs'

const CLIENTS = [1, 64]
const CONNECTIONS = 4000
/** Calls for each connection below which a row is left out, for example those of a timer. */
const LEAST_CALLS = 0.01

/** @typedef {Map<string, number>} Calls for each connection, by name */

/** @param {readonly string[]} args */
async function systemCalls(args) {
  const options = parseOptions(args, [])
  if (options === undefined) throw new Failed('Usage: node benchmarks/system-calls.mjs [--node PATH]')
  const folder = mkdtempSync(join(tmpdir(), 'socketserver-strace-'))
  try {
    for (const clients of CLIENTS) {
      const wanted = { behaviour: /** @type {const} */ ('short'), workers: 2 }
      const shared = await countCalls(peers.shared(wanted), options, clients, folder)
      const socketserver = await countCalls(peers.processes(wanted), options, clients, folder)
      const columns = [shared.others, socketserver.others, socketserver.first]
      const names = [...new Set(columns.flatMap((column) => [...column.keys()]))]
      const most = (/** @type {string} */ name) => Math.max(...columns.map((column) => column.get(name) ?? 0))
      const rows = names
        .filter((name) => most(name) >= LEAST_CALLS)
        .sort((a, b) => most(b) - most(a))
        .map((name) => [name, ...columns.map((column) => column.get(name) ?? 0)])
      const sum = columns.map((column) => [...column.values()].reduce((total, calls) => total + calls, 0))
      console.log(
        `\nNode ${options.version}, ${clients === 1 ? 'one client' : `${clients} clients`} at a time, 2 workers\n`,
      )
      const format = (/** @type {string | number} */ count) => (count === 0 ? '' : Number(count).toFixed(2))
      const body = [...rows, ['all', ...sum]].map(([name = '', ...calls]) => [String(name), ...calls.map(format)])
      const head = ['calls for each connection', 'SCHED_NONE, workers', 'socketserver, workers', 'socketserver, parent']
      console.log(markdownTable([head, ...body], { align: ['l', 'r', 'r', 'r'] }))
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Returns the calls of a peer's main process, and of its other processes together.
 *
 * @param {import('./harness/peers.mjs').Peer} peer
 * @param {import('./harness/options.mjs').Options} options
 * @param {number} clients
 * @param {string} folder
 */
async function countCalls(peer, options, clients, folder) {
  const server = await PeerProcess.start(peer, options)
  try {
    const run = { mode: /** @type {const} */ ('closed'), port: server.port, least: CONNECTIONS }
    await server.during(load({ ...run, options: { clients, connections: CONNECTIONS } }))
    const pids = [...usage(server.pid).keys()]
    const tracers = [
      await attachStrace([server.pid], join(folder, 'first')),
      await attachStrace(
        pids.filter((pid) => pid !== server.pid),
        join(folder, 'others'),
      ),
    ]
    await server.during(load({ ...run, options: { clients, connections: CONNECTIONS } }))
    const [first, others] = [await tracers[0]?.(), await tracers[1]?.()]
    if (first === undefined || others === undefined) throw new Failed('strace counted no calls.')
    return { first, others }
  } finally {
    await server.stop()
  }
}

/**
 * Starts to count the calls of these processes. The returned function stops and returns the counts.
 *
 * @param {number[]} pids
 * @param {string} file
 */
async function attachStrace(pids, file) {
  const which = pids.flatMap((pid) => ['-p', String(pid)])
  const strace = spawn('strace', ['-f', '-c', '-o', file, ...which], { stdio: ['ignore', 'ignore', 'pipe'] })
  const closed = once(strace, 'close')
  closed.catch(() => {})
  let output = ''
  await new Promise((/** @type {(nothing?: undefined) => void} */ resolve, reject) => {
    strace.on('error', () => reject(new Failed('strace was not found on the PATH.')))
    strace.on('exit', () => reject(new Failed(`strace failed: ${output}`)))
    strace.stderr.setEncoding('utf8').on('data', (text) => {
      output += text
      if (pids.every((pid) => output.includes(`Process ${pid} attached`))) resolve()
    })
  })
  return async () => {
    strace.kill('SIGINT')
    await closed
    return parseCounts(readFileSync(file, 'utf8'))
  }
}

/**
 * Parses the table that `strace -c` writes.
 *
 * @param {string} text
 * @returns {Calls}
 */
function parseCounts(text) {
  const rows = text.split('\n').flatMap((line) => {
    const [time, , , calls, ...rest] = line.trim().split(/\s+/)
    const name = rest.at(-1)
    if (name === undefined || name === 'total' || !/^[\d.]+$/.test(time ?? '') || !/^\d+$/.test(calls ?? '')) return []
    return [/** @type {const} */ ([name, Number(calls) / CONNECTIONS])]
  })
  return new Map(rows)
}

await main(() => systemCalls(process.argv.slice(2)))
