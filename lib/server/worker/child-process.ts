import { fork, type StdioOptions } from 'node:child_process'
import { invalidValue } from '../../errors.js'
import { type NativeServer, openChannel } from '../../native.js'
import { type WorkerSettings, workerEnvironment } from '../../worker-settings.js'
import { type ForkPlan, requireDirectory } from '../pool/fork-options.js'
import { InspectPortLease, withInspectPort } from './inspect-ports.js'
import { ProcessRuntime } from './process-runtime.js'
import type { WorkerRuntime } from './worker-runtime.js'

/**
 * Starts one worker's process with its end of a new channel among its descriptors.
 * A descriptor is a number in TypeScript here and in client/connection/adopt-socket.ts only.
 *
 * A worker that inherits standard error does so from the start, so that it has its terminal, waits for nobody and outlives
 * its parent. Only where the last one did not get ready (`isSuspect`), or the user asks for it, is a pipe put in between, so
 * that the error can say why: what comes is written to our standard error, and once it has connected the worker puts the inherited one back.
 */
export function spawnWorker(
  native: NativeServer,
  plan: ForkPlan,
  settings: WorkerSettings,
  report: (error: Error) => void,
  isSuspect: boolean,
): { channel: number; runtime: WorkerRuntime } {
  // It may have gone since the last start.
  requireDirectory(plan.options.cwd)
  const givenStdio = forkStdio(plan.options)
  const isObserved = (isSuspect || plan.observeStderr) && isInherited(givenStdio[2])
  const stdio = isObserved ? givenStdio.with(2, 'pipe') : givenStdio
  const inspectPort = new InspectPortLease(settings.slot)
  const end = openChannel(native)
  try {
    const keptStderr = isObserved ? stdio.length + 1 : 0
    const given = { ...(plan.options.env ?? process.env), NODE_APP_INSTANCE: String(settings.slot) }
    const env = workerEnvironment(given, stdio.length, { ...settings, keptStderr })
    const descriptors = isObserved ? [end.fd, STDERR] : [end.fd]
    const execArgv = withInspectPort(plan.options.execArgv ?? process.execArgv, env, inspectPort)
    const child = fork(plan.entry, plan.args, { ...plan.options, execArgv, env, stdio: [...stdio, ...descriptors] })
    child.once('exit', () => inspectPort.release())
    // Not every error is an end; without a pid there is no 'exit'.
    child.on('error', () => child.pid === undefined && inspectPort.release())
    if (isObserved) child.stderr?.on('data', (chunk: Buffer) => process.stderr.write(chunk))
    return { channel: end.channel, runtime: new ProcessRuntime(child, report) }
  } catch (error) {
    inspectPort.release()
    native.endChannel(end.channel)
    throw error
  } finally {
    // A copy of the worker's end left open here would keep the channel from ever reaching EOF.
    native.closeWorkerEnd(end.channel)
  }
}

/** The stdio that `fork` would give, spelled out, so that the channel can be put behind it. */
function forkStdio({ stdio, silent }: { stdio?: StdioOptions | undefined; silent?: boolean | undefined }): StdioList {
  if (typeof stdio === 'object' && stdio !== null) {
    const list: StdioList = [...stdio]
    // Node fills an array up to three, and what is not named is a pipe.
    while (list.length < 3) list.push('pipe')
    return list
  }
  const each = stdio ?? (silent === true ? 'pipe' : 'inherit')
  if (!STDIO_WORDS.includes(each)) throw invalidValue('options.stdio', stdio)
  return [each, each, each, 'ipc']
}

/** Whether this stands for this process's own standard error. */
function isInherited(stderr: unknown): boolean {
  return stderr === 'inherit' || stderr === STDERR || stderr === process.stderr
}

const STDERR = 2

type StdioList = Extract<StdioOptions, readonly unknown[]>

const STDIO_WORDS: readonly unknown[] = ['pipe', 'overlapped', 'ignore', 'inherit']
