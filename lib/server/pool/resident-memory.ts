import { execFile } from 'node:child_process'
import { promises } from 'node:fs'
import { promisify } from 'node:util'

/**
 * The resident memory of a process in bytes; undefined if it cannot be told, as the process has exited for instance. Asked
 * of the system and not of the worker: one whose event loop is stuck in garbage collection is the one that matters.
 */
export async function residentMemory(pid: number): Promise<number | undefined> {
  try {
    const kilobytes = process.platform === 'linux' ? await fromProc(pid) : await fromPs(pid)
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024
  } catch {
    return undefined
  }
}

/** proc_pid_status(5). Not statm, which counts in pages. */
async function fromProc(pid: number): Promise<string | undefined> {
  const status = await promises.readFile(`/proc/${pid}/status`, 'utf8')
  return /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]
}

/** ps(1) of macOS and the BSDs counts in kilobytes, too. */
async function fromPs(pid: number): Promise<string | undefined> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(pid)])
  return /^\s*(\d+)\s*$/.exec(stdout)?.[1]
}
