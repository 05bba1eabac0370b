import { execFile } from 'node:child_process'
import { promises } from 'node:fs'
import { promisify } from 'node:util'

/**
 * Returns the resident memory of a process in bytes; undefined if it is unknown, for example because the process has exited.
 * Asks the system and not the worker, whose event loop may be blocked by garbage collection.
 */
export async function residentMemory(pid: number): Promise<number | undefined> {
  try {
    const kilobytes = process.platform === 'linux' ? await fromProc(pid) : await fromPs(pid)
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024
  } catch {
    return undefined
  }
}

/** Reads VmRSS of proc_pid_status(5) in kilobytes; proc_pid_statm(5) counts pages. */
async function fromProc(pid: number): Promise<string | undefined> {
  const status = await promises.readFile(`/proc/${pid}/status`, 'utf8')
  return /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]
}

/** Asks ps(1), which counts kilobytes on macOS and the BSDs. */
async function fromPs(pid: number): Promise<string | undefined> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(pid)])
  return /^\s*(\d+)\s*$/.exec(stdout)?.[1]
}
