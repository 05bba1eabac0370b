import { fork, type StdioOptions } from 'node:child_process'
import { invalidValue } from '../../errors.js'
import { type NativeServer, openChannel, openListenChannel } from '../../native.js'
import { type WorkerSettings, workerEnvironment } from '../../worker-settings.js'
import { resourceAttributes } from '../observe/resource-attributes.js'
import { type ForkPlan, requireDirectory } from '../pool/fork-options.js'
import { InspectPortLease, withInspectPort } from './inspect-ports.js'
import { ProcessRuntime } from './process-runtime.js'
import type { WorkerRuntime } from './worker-runtime.js'

/**
 * Starts one worker process with its end of a new channel among its descriptors. In TypeScript a descriptor is a number only here
 * and in client/connection/adopt-socket.ts.
 *
 * A worker that inherits standard error keeps the terminal, never waits for its parent to read and survives its parent. After a
 * failed start (`failedToStart`), or with `observeStderr`, the process gets a pipe, so that the error can include the last lines. The parent copies
 * the pipe to its own standard error, and the worker restores the inherited one when it has connected.
 */
export function spawnWorker(
  native: NativeServer,
  plan: ForkPlan,
  settings: WorkerSettings,
  report: (error: Error) => void,
  failedToStart: boolean,
): { channel: number; runtime: WorkerRuntime } {
  // The directory may have been removed since the last start.
  requireDirectory(plan.options.cwd)
  const givenStdio = forkStdio(plan.options)
  const isObserved = (failedToStart || plan.observeStderr) && isInherited(givenStdio[2])
  const stdio = isObserved ? givenStdio.with(2, 'pipe') : givenStdio
  const inspectPort = new InspectPortLease(settings.slot)
  const end = openChannel(native, settings.routedSlot)
  try {
    const descriptors = [end.fd]
    const keptStderr = isObserved ? stdio.length + descriptors.push(STDERR) - 1 : 0
    const listenChannel =
      plan.app === undefined ? 0 : stdio.length + descriptors.push(openListenChannel(native, plan.app, end.channel)) - 1
    const inherited = plan.options.env ?? process.env
    const given = {
      ...inherited,
      NODE_APP_INSTANCE: String(settings.slot),
      OTEL_RESOURCE_ATTRIBUTES: resourceAttributes(inherited['OTEL_RESOURCE_ATTRIBUTES'], settings.slot),
    }
    const env = workerEnvironment(given, stdio.length, { ...settings, keptStderr, listenChannel })
    const execArgv = withInspectPort(plan.options.execArgv ?? process.execArgv, env, inspectPort)
    const child = fork(plan.entry, plan.args, { ...plan.options, execArgv, env, stdio: [...stdio, ...descriptors] })
    child.once('exit', () => inspectPort.release())
    // Without a pid there will be no 'exit'. Other errors do not end the process.
    child.on('error', () => child.pid === undefined && inspectPort.release())
    if (isObserved) child.stderr?.on('data', (chunk: Buffer) => process.stderr.write(chunk))
    return { channel: end.channel, runtime: new ProcessRuntime(child, report) }
  } catch (error) {
    inspectPort.release()
    native.endChannel(end.channel)
    throw error
  } finally {
    // An open copy of the worker's end would keep the channel from ever reaching EOF.
    native.closeWorkerEnd(end.channel)
  }
}

/** Returns the `stdio` that `fork` would use as a list, so that the channel can be appended. */
function forkStdio({ stdio, silent }: { stdio?: StdioOptions | undefined; silent?: boolean | undefined }): StdioList {
  if (typeof stdio === 'object' && stdio !== null) {
    const list: StdioList = [...stdio]
    // Node fills up a short array with pipes.
    while (list.length < 3) list.push('pipe')
    return list
  }
  const each = stdio ?? (silent === true ? 'pipe' : 'inherit')
  if (!STDIO_WORDS.includes(each)) throw invalidValue('options.stdio', stdio)
  return [each, each, each, 'ipc']
}

/** Returns whether a `stdio` entry means the standard error of this process. */
function isInherited(stderr: unknown): boolean {
  return stderr === 'inherit' || stderr === STDERR || stderr === process.stderr
}

const STDERR = 2

type StdioList = Extract<StdioOptions, readonly unknown[]>

const STDIO_WORDS: readonly unknown[] = ['pipe', 'overlapped', 'ignore', 'inherit']
