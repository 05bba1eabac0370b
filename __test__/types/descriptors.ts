// The public types of streams of bytes and descriptors. Compiled with the tests and not run.

import type { FileHandle } from 'node:fs/promises'
import type { Server as NetServer, Socket } from 'node:net'
import {
  Descriptor,
  type DescriptorKind,
  DescriptorListener,
  type DescriptorSource,
  DescriptorStream,
  type Received,
  type Server,
} from '@socketserver/node'
import { expectTypeOf } from 'expect-type'

expectTypeOf(DescriptorStream.pair()).toEqualTypeOf<[DescriptorStream, DescriptorStream]>()
expectTypeOf(DescriptorStream.connect('/run/a')).toEqualTypeOf<Promise<DescriptorStream>>()
expectTypeOf(DescriptorStream.connect('\0a', { signal: AbortSignal.abort() })).resolves.toExtend<DescriptorStream>()
expectTypeOf(DescriptorStream.from({ fd: 3 })).toEqualTypeOf<DescriptorStream>()
expectTypeOf(DescriptorListener.listen('/run/a', { mode: 0o660, backlog: 5 })).toEqualTypeOf<
  Promise<DescriptorListener>
>()
expectTypeOf(DescriptorListener.from({ fd: 3 })).toEqualTypeOf<DescriptorListener>()

declare const stream: DescriptorStream
expectTypeOf(stream.send('text')).toEqualTypeOf<Promise<void>>()
expectTypeOf(stream.receive()).toEqualTypeOf<Promise<Received | null>>()
expectTypeOf(stream.receive({ size: 10, signal: AbortSignal.abort() })).resolves.toEqualTypeOf<Received | null>()
expectTypeOf(stream).toExtend<AsyncIterable<Received> & AsyncDisposable & Disposable>()
expectTypeOf(stream.fd).toBeNumber()
expectTypeOf(stream.end()).toEqualTypeOf<Promise<void>>()
expectTypeOf(stream.close()).toEqualTypeOf<Promise<void>>()
expectTypeOf(stream.destroy()).toEqualTypeOf<void>()
expectTypeOf(stream.ref().unref()).toEqualTypeOf<DescriptorStream>()
void stream.send(Buffer.alloc(1), [])
void stream.send(new DataView(new ArrayBuffer(1)))

// Every object with an open descriptor is a source.
expectTypeOf<number | Descriptor | DescriptorStream | DescriptorListener | FileHandle>().toExtend<DescriptorSource>()
expectTypeOf<Socket | NetServer>().toExtend<DescriptorSource>()
// @ts-expect-error A path is not a descriptor.
void stream.send('.', ['/etc/hosts'])
// @ts-expect-error Descriptors are given as a list.
void stream.send('.', 5)
// @ts-expect-error Data is bytes or a string.
void stream.send({ json: true })
// @ts-expect-error A stream comes from pair(), connect(), accept() or from().
new DescriptorStream()

declare const received: Received
expectTypeOf(received.data).toEqualTypeOf<Buffer>()
expectTypeOf(received.descriptors).toEqualTypeOf<readonly Descriptor[]>()
expectTypeOf(received).toExtend<Disposable>()

declare const listener: DescriptorListener
expectTypeOf(listener.accept()).toEqualTypeOf<Promise<DescriptorStream>>()
expectTypeOf(listener).toExtend<AsyncIterable<DescriptorStream> & Disposable>()
expectTypeOf(listener.close()).toEqualTypeOf<void>()

declare const descriptor: Descriptor
expectTypeOf(descriptor.fd).toBeNumber()
expectTypeOf(descriptor.kind).toEqualTypeOf<DescriptorKind>()
expectTypeOf(descriptor.release()).toBeNumber()
expectTypeOf(descriptor.socket({ allowHalfOpen: true })).toEqualTypeOf<Socket>()
expectTypeOf(descriptor.close()).toEqualTypeOf<void>()
expectTypeOf(descriptor).toExtend<Disposable>()
expectTypeOf(Descriptor.copyOf(5)).toEqualTypeOf<Descriptor>()
expectTypeOf(Descriptor.from({ fd: 5 })).toEqualTypeOf<Descriptor>()
// @ts-expect-error from() takes an object with the descriptor.
Descriptor.from(5)
// @ts-expect-error The descriptor is read-only.
descriptor.fd = 5

declare const server: Server
expectTypeOf(server.descriptors()).toEqualTypeOf<Descriptor[]>()
void server.listen({ fd: descriptor })
