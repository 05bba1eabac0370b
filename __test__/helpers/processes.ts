// Reads the state of processes from Linux's proc(5).

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { until } from './until.js'

/** Returns the number of open descriptors of a process. */
export function descriptors(pid = process.pid): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** Returns the number of open descriptors of a worker without its copy of the scoreboard, which it closes soon after it is ready. */
export async function descriptorsOfWorker(pid: number): Promise<number> {
  const hasScoreboard = (fd: string): boolean => readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('/memfd:socketserver')
  await until(() => !readdirSync(`/proc/${pid}/fd`).some(hasScoreboard))
  return descriptors(pid)
}

/** Returns the number of threads of a process. */
export function threads(pid = process.pid): number {
  return readdirSync(`/proc/${pid}/task`).length
}

/** Returns the process ids of the children of a process, zombies included. */
export function childrenOf(pid = process.pid): number[] {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return all.map(Number).filter((child) => {
    try {
      return Number(stat(child)[1]) === pid
    } catch {
      // The process has exited since it was listed.
      return false
    }
  })
}

/** Returns the resident memory of a process in kilobytes. */
export function residentKilobytes(pid = process.pid): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}

/** Returns the processor time that a process and its threads have used, in milliseconds. */
export function processorTime(pid: number): number {
  const fields = stat(pid)
  // utime and stime, in ticks; Linux has reported 100 of them a second on every platform since 2.6 (sysconf(3)).
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** Returns whether a process exists and is not a zombie. */
export function isRunning(pid: number): boolean {
  try {
    return stat(pid)[0] !== 'Z'
  } catch {
    return false
  }
}

/** Returns whether a process is stopped, as by SIGSTOP. */
export function isStopped(pid: number): boolean {
  return stat(pid)[0] === 'T'
}

/** Returns the scheduling policy, sched(7), of a thread or of the main thread of a process. */
export function policyOf(id: number): number {
  return Number(stat(id)[38])
}

/** Returns the ids of the threads of a process, all or those with this name. */
export function threadsOf(pid: number, name?: string): number[] {
  const all = readdirSync(`/proc/${pid}/task`)
  const hasName = (id: string) =>
    name === undefined || readFileSync(`/proc/${pid}/task/${id}/comm`, 'utf8') === `${name}\n`
  return all.filter(hasName).map(Number)
}

/** The scheduling policies of sched.h. */
export const OTHER = 0
export const BATCH = 3

/** Returns the fields from the third on. The second, the command's name, may contain spaces and parentheses. */
function stat(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}
