// The public types of the worker's side and of errors. Compiled with the tests and not run.

import type { EventEmitter } from 'node:events'
import type { Server as HttpServer } from 'node:http'
import type { Http2SecureServer, Http2Server } from 'node:http2'
import type { Server as HttpsServer } from 'node:https'
import type { Server as NetServer, Socket } from 'node:net'
import type { Server as TlsServer } from 'node:tls'
import {
  type AcceptOptions,
  type Client,
  type Connection,
  type ConnectionInfo,
  type ConnectOptions,
  connect,
  type JoinedInfo,
  type LostInfo,
  type ReconnectOptions,
  SocketServerError,
  type SocketServerErrorCode,
} from '@socketserver/node'
import { expectTypeOf } from 'expect-type'

expectTypeOf(connect).parameters.toEqualTypeOf<[options?: string | ConnectOptions | undefined]>()
expectTypeOf(connect()).toEqualTypeOf<Client>()
expectTypeOf(connect({ port: 7702 })).toEqualTypeOf<Client>()
expectTypeOf(connect('/run/app.ctl')).toEqualTypeOf<Client>()
expectTypeOf(connect({ path: '/run/app.ctl', port: 7702, reconnect: { maxDelay: 5000 } })).toEqualTypeOf<Client>()
expectTypeOf<ConnectOptions['reconnect']>().toEqualTypeOf<boolean | ReconnectOptions | undefined>()
// @ts-expect-error A port is a number.
connect({ port: '7702' })

declare const client: Client
expectTypeOf(client).toExtend<EventEmitter>()
expectTypeOf(client.accept).parameters.toEqualTypeOf<[options?: AcceptOptions | undefined]>()
expectTypeOf(client.accept({ signal: AbortSignal.timeout(5) })).toEqualTypeOf<Promise<Connection>>()
// @ts-expect-error A signal is an AbortSignal, not the name of one.
client.accept({ signal: 'SIGTERM' })

expectTypeOf<Connection>().toExtend<ConnectionInfo>()
expectTypeOf<Connection['socket']>().toEqualTypeOf<Socket>()
expectTypeOf<Connection['handBack']>().toEqualTypeOf<() => Promise<void>>()
expectTypeOf<ConnectionInfo>().toExtend<{
  id: number
  remoteAddress: string | undefined
  remotePort: number | undefined
  localPort: number | undefined
  waited: number
}>()
expectTypeOf<'socket'>().not.toExtend<keyof ConnectionInfo>()

expectTypeOf(client).toExtend<AsyncIterable<Connection>>()
expectTypeOf(client).toExtend<AsyncDisposable>()
expectTypeOf(client.concurrency).toBeNumber()
client.concurrency = Number.POSITIVE_INFINITY
expectTypeOf(client.leases).toBeNumber()
// @ts-expect-error Leases are counted, not set.
client.leases = 0
expectTypeOf(client.close()).toEqualTypeOf<Promise<void>>()
expectTypeOf(client.ref().unref()).toEqualTypeOf<Client>()

client.on('connection', (socket, connection) => {
  expectTypeOf(socket).toEqualTypeOf<Socket>()
  expectTypeOf(connection).toEqualTypeOf<Connection>()
})
client.on('joined', (info) => expectTypeOf(info).toEqualTypeOf<JoinedInfo>())
client.on('lost', (info) => {
  expectTypeOf(info).toEqualTypeOf<LostInfo>()
  expectTypeOf(info.error).toEqualTypeOf<SocketServerError>()
})
client.once('error', (error) => expectTypeOf(error).toEqualTypeOf<Error>())
client.on('close', (...args) => expectTypeOf(args).toEqualTypeOf<[]>())

// Every kind of server is served, and the client is returned.
declare const servers: NetServer | HttpServer | HttpsServer | TlsServer | Http2Server | Http2SecureServer
expectTypeOf(client.serve(servers)).toEqualTypeOf<Client>()
expectTypeOf(client.serve(servers, { concurrency: 100 })).toEqualTypeOf<Client>()
// @ts-expect-error A request handler is not a server.
client.serve((_request: unknown, response: { end(): void }) => response.end())

const error = new SocketServerError('ERR_SOCKETSERVER_CLOSED', 'too late', { cause: new Error('why') })
expectTypeOf(error).toExtend<Error>()
expectTypeOf(error.code).toExtend<string>()
expectTypeOf<'ERR_SOCKETSERVER_NO_PARENT'>().toExtend<SocketServerErrorCode>()
expectTypeOf<'ERR_SOCKETSERVER_REFUSED'>().toExtend<SocketServerErrorCode>()
expectTypeOf<'EADDRINUSE'>().not.toExtend<SocketServerErrorCode>()
expectTypeOf<'EADDRINUSE'>().toExtend<SocketServerError['code']>()
expectTypeOf(error.errno).toEqualTypeOf<number | undefined>()
expectTypeOf(error.syscall).toEqualTypeOf<string | undefined>()
// @ts-expect-error The properties of an error are read-only.
error.code = 'ERR_SOCKETSERVER_NO_PARENT'
