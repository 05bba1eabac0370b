import { SocketServerError, systemError } from '../errors.js'
import type { Notice } from '../native.js'
import { errorPlace, fromNative } from './address.js'
import type { ShedInfo } from './stats.js'
import type { ForkedWorker } from './worker-handle.js'

/** What a server does about what its native side has to say. */
export interface NoticeReader {
  worker(channel: number): ForkedWorker | undefined
  joined(worker: ForkedWorker): void
  shed(info: ShedInfo): void
  failed(error: SocketServerError): void
  drained(): void
}

export function readNotice(notice: Notice, reader: NoticeReader): void {
  const worker = notice.channel === undefined ? undefined : reader.worker(notice.channel)
  switch (notice.kind) {
    case 'joined':
      if (worker) reader.joined(worker)
      break
    case 'ended':
      worker?.channelEnded()
      if (notice.reason === 'protocol') reader.failed(protocolError(notice, worker))
      break
    case 'shed':
      if (notice.connection) reader.shed(shedInfo(notice.connection, notice.reason))
      break
    case 'accept-error':
      if (notice.error) reader.failed(systemError(notice.error, notice.error.syscall, place(notice)))
      break
    case 'worker-limit':
      if (notice.error) {
        const note = `in ${describe(worker)}: it cannot take connections`
        reader.failed(systemError(notice.error, notice.error.syscall, { pid: worker?.pid, note }))
      }
      break
    case 'drained':
      reader.drained()
      break
  }
}

function protocolError({ message }: Notice, worker: ForkedWorker | undefined): SocketServerError {
  return new SocketServerError(
    'ERR_SOCKETSERVER_PROTOCOL',
    `The channel of ${describe(worker)} was ended, as it broke the protocol: ${message ?? 'no reason was given'}`,
    { pid: worker?.pid },
  )
}

function describe(worker: ForkedWorker | undefined): string {
  return worker === undefined ? 'a worker that has gone' : `worker ${worker.id} (pid ${worker.pid})`
}

function place({ address }: Notice): { address?: string; port?: number } {
  return address === undefined ? {} : errorPlace(fromNative(address))
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
