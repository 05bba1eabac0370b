import { fork, type StdioOptions } from 'node:child_process'
import { invalidValue } from '../errors.js'
import type { NativeServer } from '../native.js'
import { type WorkerSettings, workerEnvironment } from '../worker-settings.js'
import type { ForkPlan } from './fork-options.js'
import { ProcessBody } from './process-body.js'
import type { WorkerBody } from './worker-body.js'

/**
 * Starts one worker's process with its end of a new channel among its descriptors.
 * This is the first of the two places where a descriptor is a number in TypeScript; the other is adopt-socket.ts.
 */
export function spawnWorker(
  native: NativeServer,
  plan: ForkPlan,
  settings: WorkerSettings,
  report: (error: Error) => void,
): { channel: number; body: WorkerBody } {
  const stdio = forkStdio(plan.options)
  const end = native.openChannel()
  try {
    const env = workerEnvironment(plan.options.env ?? process.env, stdio.length, settings)
    const child = fork(plan.entry, plan.args, { ...plan.options, env, stdio: [...stdio, end.fd] })
    return { channel: end.channel, body: new ProcessBody(child, report) }
  } catch (error) {
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

type StdioList = Extract<StdioOptions, readonly unknown[]>

const STDIO_WORDS: readonly unknown[] = ['pipe', 'overlapped', 'ignore', 'inherit']
