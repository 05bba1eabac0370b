// What a peer has used: processor time and memory of its main process and of everything below it.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { Unmeasured } from './unmeasured.mjs'

/**
 * @typedef {object} Use of one process, so far
 * @property {number} pid
 * @property {number} parent
 * @property {number} cpu microseconds
 * @property {number} memory resident, in bytes
 */

/**
 * The use of a process and its descendants, by pid.
 *
 * @param {number} pid
 * @returns {Map<number, Use>}
 */
export function use(pid) {
  const all = process.platform === 'linux' ? fromProc(pid) : fromPs(pid)
  if (!all.has(pid)) throw new Unmeasured(`process ${pid} of the server has ended`)
  return all
}

/**
 * Processor time between two looks, in microseconds: of all, and of the main process alone. A process that has ended in
 * between has taken its times with it, so there is no number then.
 *
 * @param {number} pid
 * @param {Map<number, Use>} before
 * @param {Map<number, Use>} after
 */
export function cpuBetween(pid, before, after) {
  for (const { pid: one } of before.values()) {
    if (!after.has(one)) throw new Unmeasured(`process ${one} of the server has ended while it was measured`)
  }
  let all = 0
  for (const { pid: one, cpu } of after.values()) all += cpu - (before.get(one)?.cpu ?? 0)
  return { all, parent: (after.get(pid)?.cpu ?? 0) - (before.get(pid)?.cpu ?? 0) }
}

/**
 * Resident memory in bytes, of all and of the main process alone. Pages that processes share are counted in each.
 *
 * @param {number} pid
 * @param {Map<number, Use>} all
 */
export function memory(pid, all) {
  let sum = 0
  for (const one of all.values()) sum += one.memory
  return { all: sum, parent: all.get(pid)?.memory ?? 0 }
}

/** @param {number} root */
function fromProc(root) {
  /** @type {Map<number, Use>} */
  const found = new Map()
  const waiting = [root]
  for (let pid = waiting.pop(); pid !== undefined; pid = waiting.pop()) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      // A zombie, which only waits for its parent to look.
      if (/^State:\s+[ZX]/m.test(status)) continue
      const resident = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
      const parent = Number(/^PPid:\s+(\d+)/m.exec(status)?.[1] ?? 0)
      const cpu = cpuOf(pid)
      found.set(pid, { pid, parent, cpu, memory: resident })
      for (const task of readdirSync(`/proc/${pid}/task`)) {
        const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ')
        for (const child of children) if (child !== '') waiting.push(Number(child))
      }
    } catch (error) {
      // It has ended while it was looked at.
      if (!gone(error)) throw error
      found.delete(pid)
    }
  }
  return found
}

/**
 * In nanoseconds, thread by thread, where the kernel counts so (schedstat, since Linux 2.6.22); utime and stime of
 * proc(5) are in hundredths of a second.
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
  /** @type {Map<number, Use>} */
  const found = new Map()
  for (let grown = -1; grown < found.size; ) {
    grown = found.size
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
