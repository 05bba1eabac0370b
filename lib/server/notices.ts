import { errorAddress, fromNative, type ListenAddress } from '../address.js'
import { debug } from '../diagnostics.js'
import { SocketServerError, systemError } from '../errors.js'
import { endOf, type Notice } from '../native.js'
import type { CutInfo, ShedInfo } from './stats.js'
import { JoinedWorker } from './worker/joined-worker.js'
import type { KnownWorker } from './worker/worker-handle.js'
import { runtimeName } from './worker/worker-runtime.js'

/** The reactions of a server to the notices of its native thread. */
export interface NoticeReader {
  /** Returns the worker on a channel. */
  worker(channel: number): KnownWorker | undefined
  admitted(notice: Notice): void
  refused(notice: Notice): void
  joined(channel: number): void
  cut(worker: KnownWorker, info: CutInfo): void
  shed(info: ShedInfo): void
  failed(error: SocketServerError): void
  /** Called for an error that a peer can repeat at will. `createError` gets the number of occurrences. */
  failedAgain(kind: string, createError: (count: number) => SocketServerError): void
  drained(): void
  /** Somebody reads `/metrics`, which has the metrics of the app. */
  metricsAsked(id: number, isOpenMetrics: boolean): void
  /** The server listens for an app. */
  listening(address: ListenAddress): void
  /** The server no longer listens there for an app. */
  listeningEnded(address: ListenAddress): void
  /** The native thread has ended by a panic. */
  broken(): void
}

/** Passes a notice to the reader. */
export function readNotice(notice: Notice, reader: NoticeReader): void {
  const worker = notice.channel === undefined ? undefined : reader.worker(notice.channel)
  switch (notice.kind) {
    case 'admitted':
      reader.admitted(notice)
      break
    case 'refused':
      reader.refused(notice)
      break
    case 'joined':
      if (notice.channel !== undefined) reader.joined(notice.channel)
      break
    case 'leaving':
      worker?.leaving()
      break
    case 'ended':
      if (notice.reason === 'protocol') protocolBroken(notice, worker, reader)
      if (worker) channelEnded(notice, worker, reader)
      break
    case 'shed':
      if (notice.connection) reader.shed(shedInfo(notice.connection, notice.reason))
      break
    case 'accept-error':
      if (notice.error) reader.failed(systemError(notice.error, notice.error.syscall, listenerOf(notice)))
      break
    case 'worker-limit':
      if (notice.error) {
        const note = `in ${describe(worker)}, which cannot take connections`
        reader.failed(systemError(notice.error, notice.error.syscall, { pid: worker?.pid, note }))
      }
      break
    case 'step':
      logStep(notice, worker)
      break
    case 'listening':
      if (notice.address) reader.listening(fromNative(notice.address))
      break
    case 'listening-ended':
      if (notice.address) reader.listeningEnded(fromNative(notice.address))
      break
    case 'metrics':
      if (notice.id !== undefined) reader.metricsAsked(notice.id, notice.isOpenMetrics === true)
      break
    case 'drained':
      reader.drained()
      break
    case 'failed':
      reader.failed(internalError(notice))
      reader.broken()
      break
  }
}

function channelEnded(notice: Notice, worker: KnownWorker, reader: NoticeReader): void {
  const { leases, handedOff } = endOf(notice)
  worker.channelEnded(handedOff)
  if (leases === 0) return
  const reason = notice.reason === 'protocol' ? 'protocol' : worker.isExpired ? 'timeout' : 'exited'
  reader.cut(worker, { connections: leases, reason })
}

/** Logs a step of a connection for `NODE_DEBUG`. The worker logs its own steps under the same number. */
function logStep({ id, step }: Notice, worker: KnownWorker | undefined): void {
  if (step === 'handed-back') debug('connection %d is handed back by %s', id, describe(worker))
  else if (step === 'handed-off') debug('connection %d is handed to %s', id, describe(worker))
  else debug('connection %d is %s', id, step)
}

function internalError({ message }: Notice): SocketServerError {
  return new SocketServerError(
    'ERR_SOCKETSERVER_INTERNAL',
    `A defect ended the thread that accepts and dispatches, and the server is closed: ${message ?? 'no reason was given'}`,
  )
}

/** Reports a protocol error. A worker that joined can repeat the error at will, unlike one that the server restarts with a delay. */
function protocolBroken(notice: Notice, worker: KnownWorker | undefined, reader: NoticeReader): void {
  if (worker instanceof JoinedWorker) {
    const kind = `${worker.uid} ${worker.path}`
    reader.failedAgain(kind, (count) => protocolError(notice, worker, count))
  } else {
    reader.failed(protocolError(notice, worker))
  }
}

function protocolError({ message }: Notice, worker: KnownWorker | undefined, count = 1): SocketServerError {
  const more = count > 1 ? ` (the last of ${count} such errors of this user since the previous report)` : ''
  return new SocketServerError(
    'ERR_SOCKETSERVER_PROTOCOL',
    `The channel of ${describe(worker)} was ended, because the worker broke the protocol: ${message ?? 'no reason was given'}${more}`,
    { pid: worker?.pid, threadId: worker?.threadId },
  )
}

function describe(worker: KnownWorker | undefined): string {
  return worker === undefined ? 'an exited worker' : `worker ${worker.id} (${runtimeName(worker)})`
}

function listenerOf({ address }: Notice): { address?: string; port?: number } {
  return address === undefined ? {} : errorAddress(fromNative(address))
}

function shedInfo(connection: NonNullable<Notice['connection']>, reason: string | undefined): ShedInfo {
  const { id, remoteAddress, remotePort, localPort, waited } = connection
  return {
    id,
    reason: reason === 'destroyed' ? 'destroyed' : 'timeout',
    remoteAddress,
    remotePort,
    localPort,
    waited,
  }
}
