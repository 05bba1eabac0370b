// What Linux's proc(5) says of a process.

import { readdirSync, readFileSync } from 'node:fs'

/** How many descriptors a process has open. */
export function descriptors(pid = process.pid): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** The number that the next descriptor of a process would have. */
export function lowestFree(pid: number): number {
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number))
  let number = 0
  while (open.has(number)) number += 1
  return number
}

/** How many threads a process has. */
export function threads(pid = process.pid): number {
  return readdirSync(`/proc/${pid}/task`).length
}

/** The processes that a process has started and that are there, zombies too. */
export function childrenOf(pid = process.pid): number[] {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return all.map(Number).filter((child) => {
    try {
      return Number(stat(child)[1]) === pid
    } catch {
      // It has ended since it was listed.
      return false
    }
  })
}

/** The resident memory of a process, in kilobytes. */
export function residentKilobytes(pid = process.pid): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}

/** Milliseconds of processor time that a process has used, its threads included. */
export function processorTime(pid: number): number {
  const fields = stat(pid)
  // utime and stime, in ticks; Linux has reported 100 of them a second on every platform since 2.6 (sysconf(3)).
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** Whether a process is there and no zombie. */
export function isRunning(pid: number): boolean {
  try {
    return stat(pid)[0] !== 'Z'
  } catch {
    return false
  }
}

/** Whether a process is stopped, as by SIGSTOP. */
export function isStopped(pid: number): boolean {
  return stat(pid)[0] === 'T'
}

/** By what policy a thread waits for a CPU, sched(7): the first thread of a process, or one by its own number. */
export function policyOf(id: number): number {
  return Number(stat(id)[38])
}

/** The numbers of a process's threads, all or those of one name. */
export function threadsOf(pid: number, name?: string): number[] {
  const all = readdirSync(`/proc/${pid}/task`)
  const isMeant = (id: string) =>
    name === undefined || readFileSync(`/proc/${pid}/task/${id}/comm`, 'utf8') === `${name}\n`
  return all.filter(isMeant).map(Number)
}

/** Policies, as in sched.h. */
export const OTHER = 0
export const BATCH = 3

/** The fields from the third on: what stands before, the command's name, may hold spaces and parentheses. */
function stat(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}
