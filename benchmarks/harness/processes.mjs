// Reads the CPU time and memory of a peer's main process and its descendants.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { MeasurementError } from './measurement-error.mjs'

/**
 * @typedef {object} Usage of one process since its start
 * @property {number} pid
 * @property {number} parent
 * @property {number} cpu microseconds
 * @property {number} memory resident, in bytes
 */

/**
 * Returns the usage of a process and its descendants, by pid.
 *
 * @param {number} pid
 * @returns {Map<number, Usage>}
 */
export function usage(pid) {
  const all = process.platform === 'linux' ? fromProc(pid) : fromPs(pid)
  if (!all.has(pid)) throw new MeasurementError(`process ${pid} of the server has exited`)
  return all
}

/**
 * Returns the CPU time between two samples in microseconds, of all processes and of the main process. Throws if a process
 * exited in between, because its CPU time is lost.
 *
 * @param {number} pid
 * @param {Map<number, Usage>} before
 * @param {Map<number, Usage>} after
 */
export function cpuBetween(pid, before, after) {
  for (const { pid: one } of before.values()) {
    if (!after.has(one)) throw new MeasurementError(`process ${one} of the server exited during the measurement`)
  }
  let all = 0
  for (const { pid: one, cpu } of after.values()) all += cpu - (before.get(one)?.cpu ?? 0)
  return { all, parent: (after.get(pid)?.cpu ?? 0) - (before.get(pid)?.cpu ?? 0) }
}

/**
 * Returns the resident memory in bytes, of all processes and of the main process. Shared pages count in every process.
 *
 * @param {number} pid
 * @param {Map<number, Usage>} all
 */
export function memory(pid, all) {
  let sum = 0
  for (const one of all.values()) sum += one.memory
  return { all: sum, parent: all.get(pid)?.memory ?? 0 }
}

/** @param {number} root */
function fromProc(root) {
  /** @type {Map<number, Usage>} */
  const found = new Map()
  const pids = [root]
  for (let pid = pids.pop(); pid !== undefined; pid = pids.pop()) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      // A zombie or dead process.
      if (/^State:\s+[ZX]/m.test(status)) continue
      const resident = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
      const parent = Number(/^PPid:\s+(\d+)/m.exec(status)?.[1] ?? 0)
      const cpu = cpuOf(pid)
      found.set(pid, { pid, parent, cpu, memory: resident })
      for (const task of readdirSync(`/proc/${pid}/task`)) {
        const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ')
        for (const child of children) if (child !== '') pids.push(Number(child))
      }
    } catch (error) {
      // The process exited while it was read.
      if (!gone(error)) throw error
      found.delete(pid)
    }
  }
  return found
}

/**
 * Returns the CPU time of a process in microseconds. `schedstat` counts nanoseconds for each thread; utime and stime of
 * proc(5) count hundredths of a second.
 *
 * @param {number} pid
 */
function cpuOf(pid) {
  let nanoseconds = 0
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0])
  }
  return nanoseconds / 1000
}

/** @param {number} root */
function fromPs(root) {
  const table = execFileSync('ps', ['-axo', 'pid=,ppid=,rss=,cputime='], { encoding: 'utf8' })
  const all = table.split('\n').flatMap((line) => {
    const [pid, parent, kilobytes, time] = line.trim().split(/\s+/)
    if (time === undefined) return []
    return [{ pid: Number(pid), parent: Number(parent), memory: Number(kilobytes) * 1024, cpu: microseconds(time) }]
  })
  /** @type {Map<number, Usage>} */
  const found = new Map()
  for (let before = -1; before < found.size; ) {
    before = found.size
    for (const one of all) if (one.pid === root || found.has(one.parent)) found.set(one.pid, one)
  }
  return found
}

/** @param {string} time [hours:]minutes:seconds */
function microseconds(time) {
  return time.split(':').reduce((sum, part) => sum * 60 + Number(part), 0) * 1e6
}

/** @param {unknown} error */
function gone(error) {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')
}
