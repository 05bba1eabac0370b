// The public types of the parent's side. Compiled with the tests and not run.

import type { ChildProcess, ForkOptions as ChildProcessForkOptions } from 'node:child_process'
import type { EventEmitter } from 'node:events'
import {
  createServer,
  type DrainOptions,
  type DrainResult,
  type ForkOptions,
  isWorker,
  type JoinedHandle,
  type ListenAddress,
  type ListenOptions,
  type PathAddress,
  type Pool,
  type ProcessHandle,
  type RefusedInfo,
  type Server,
  type ServerOptions,
  type ServerStats,
  type Share,
  type ShareOptions,
  type ShedInfo,
  worker as self,
  type TcpAddress,
  type WorkerHandle,
  type WorkerIdentity,
  type WorkerState,
} from '@socketserver/node'
import { expectTypeOf } from 'expect-type'

expectTypeOf(createServer).parameters.toEqualTypeOf<[options?: ServerOptions | undefined]>()
expectTypeOf(createServer).returns.toEqualTypeOf<Server>()
expectTypeOf<ServerOptions['policy']>().toEqualTypeOf<'least-busy' | 'round-robin' | 'first' | undefined>()
expectTypeOf<ServerOptions['maxQueue']>().toEqualTypeOf<number | undefined>()
expectTypeOf<ServerOptions['queueTimeout']>().toEqualTypeOf<number | undefined>()

declare const server: Server
expectTypeOf(server).toExtend<EventEmitter>()

// Each form of listen() resolves to its own kind of address.
expectTypeOf(server.listen(8888)).toEqualTypeOf<Promise<TcpAddress>>()
expectTypeOf(server.listen(8888, '::1')).toEqualTypeOf<Promise<TcpAddress>>()
expectTypeOf(server.listen({ port: 0, host: '::', backlog: 4096, ipv6Only: true })).toEqualTypeOf<Promise<TcpAddress>>()
expectTypeOf(server.listen({ path: '/run/app.sock', readableAll: true })).toEqualTypeOf<Promise<PathAddress>>()
expectTypeOf(server.listen('/run/app.sock')).toEqualTypeOf<Promise<ListenAddress>>()
expectTypeOf(server.listen({ fd: 3 })).toEqualTypeOf<Promise<ListenAddress>>()
expectTypeOf<ListenAddress>().toEqualTypeOf<TcpAddress | PathAddress>()
expectTypeOf<TcpAddress>().toEqualTypeOf<{ address: string; family: 'IPv4' | 'IPv6'; port: number }>()
expectTypeOf<{ port: number; signal: AbortSignal }>().toExtend<ListenOptions>()
expectTypeOf(server.addresses()).toEqualTypeOf<ListenAddress[]>()

// @ts-expect-error An address is required.
server.listen()
// @ts-expect-error An address is not a boolean.
server.listen(true)
// @ts-expect-error A port is a number here, although digits are accepted at run time.
server.listen({ port: '80' })
// @ts-expect-error The policies are least-busy, round-robin and first.
createServer({ policy: 'random' })

// fork() takes all that child_process.fork() takes.
expectTypeOf<ChildProcessForkOptions>().toExtend<ForkOptions>()
expectTypeOf(server.fork('./worker.js')).toEqualTypeOf<Pool<ProcessHandle>>()
expectTypeOf(server.fork(new URL('file:///worker.js'), { workers: 4, args: ['a'], silent: true })).toExtend<Pool>()
// @ts-expect-error An entry is required.
server.fork()
// @ts-expect-error Arguments are strings.
server.fork('./worker.js', { args: [5] })

declare const pool: Pool
expectTypeOf(pool.ready).toEqualTypeOf<Promise<void>>()
expectTypeOf(pool.size).toBeNumber()
expectTypeOf(pool.resize).parameters.toEqualTypeOf<[size: number]>()
expectTypeOf(pool.resize(8)).toEqualTypeOf<Promise<void>>()
expectTypeOf(pool.close()).toEqualTypeOf<Promise<void>>()
expectTypeOf(pool.workers).toEqualTypeOf<readonly ProcessHandle[]>()
// @ts-expect-error The size is changed by resize().
pool.size = 5
// @ts-expect-error The list is read-only.
pool.workers.pop()

declare const worker: ProcessHandle
expectTypeOf(worker).toExtend<WorkerHandle>()
expectTypeOf(worker.id).toBeNumber()
expectTypeOf(worker.pid).toEqualTypeOf<number | undefined>()
expectTypeOf(worker.generation).toBeNumber()
expectTypeOf(worker.leases).toBeNumber()
expectTypeOf(worker.state).toEqualTypeOf<WorkerState>()
expectTypeOf<WorkerState>().toEqualTypeOf<'starting' | 'ready' | 'draining' | 'exited'>()
expectTypeOf(worker.process).toEqualTypeOf<ChildProcess>()

expectTypeOf(server.share).parameters.toEqualTypeOf<[path: string, options?: ShareOptions | undefined]>()
expectTypeOf(server.share('/run/app.ctl', { mode: 0o660, allow: { gids: [33] } })).toEqualTypeOf<Promise<Share>>()
// @ts-expect-error Users are given by their number.
server.share('/run/app.ctl', { allow: { uids: ['www-data'] } })
// @ts-expect-error A mode is a number.
server.share('/run/app.ctl', { mode: '600' })

declare const share: Share
expectTypeOf(share.path).toBeString()
expectTypeOf(share.workers).toEqualTypeOf<readonly JoinedHandle[]>()
expectTypeOf(share.close()).toEqualTypeOf<Promise<void>>()
expectTypeOf(share).toExtend<AsyncDisposable>()
expectTypeOf<JoinedHandle>().toExtend<WorkerHandle>()
expectTypeOf<JoinedHandle['uid']>().toBeNumber()

expectTypeOf(server.stats()).toEqualTypeOf<ServerStats>()
expectTypeOf<ServerStats>().toExtend<{
  accepted: number
  handedOff: number
  requeued: number
  handedBack: number
  shed: number
  queued: number
  maxQueued: number
  leases: number
  workers: number
  refused: number
  paused: boolean
  waitMs: { p50: number; p99: number; max: number }
  acceptErrors: Record<string, number>
  routed: Record<string, number>
}>()

expectTypeOf(server.drain).parameters.toEqualTypeOf<[options?: DrainOptions | undefined]>()
expectTypeOf(server.drain({ timeout: 10_000 })).toEqualTypeOf<Promise<DrainResult>>()
expectTypeOf<DrainResult>().toEqualTypeOf<{ complete: boolean; queued: number; leases: number }>()
expectTypeOf(server.close()).toEqualTypeOf<Promise<void>>()
expectTypeOf(server.destroy()).toEqualTypeOf<void>()
expectTypeOf(server).toExtend<AsyncDisposable>()
expectTypeOf(server.ref().unref()).toEqualTypeOf<Server>()

server.on('listening', (address) => expectTypeOf(address).toEqualTypeOf<ListenAddress>())
server.on('worker', (handle) => expectTypeOf(handle).toEqualTypeOf<WorkerHandle>())
server.on('exit', (handle, code, signal) => {
  expectTypeOf(handle).toEqualTypeOf<WorkerHandle>()
  expectTypeOf(code).toEqualTypeOf<number | null>()
  expectTypeOf(signal).toEqualTypeOf<NodeJS.Signals | null>()
})
server.on('refused', (info) => expectTypeOf(info).toEqualTypeOf<RefusedInfo>())
server.on('shed', (info) => expectTypeOf(info).toEqualTypeOf<ShedInfo>())
server.once('error', (error) => expectTypeOf(error).toEqualTypeOf<Error>())
server.on('close', (...args) => expectTypeOf(args).toEqualTypeOf<[]>())

expectTypeOf<ForkOptions['signal']>().toEqualTypeOf<AbortSignal | undefined>()
// @ts-expect-error A pool would restart a worker that `timeout` ends.
server.fork('./worker.js', { timeout: 5000 })
// @ts-expect-error The option is `workers`.
server.fork('./worker.js', { worker: 4 })
// @ts-expect-error The kernel would not know which worker is busy.
void server.listen({ port: 80, reusePort: true })
// @ts-expect-error listen() returns a promise and takes no callback.
void server.listen(80, '127.0.0.1', () => {})

expectTypeOf(isWorker).toEqualTypeOf<boolean>()
expectTypeOf(self).toEqualTypeOf<WorkerIdentity | undefined>()
expectTypeOf<WorkerIdentity>().toEqualTypeOf<{
  readonly id: number
  readonly slot: number
  readonly generation: number
}>()
expectTypeOf<ProcessHandle['slot']>().toEqualTypeOf<number>()
