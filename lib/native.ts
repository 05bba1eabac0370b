// The only importer of the binding. Everything else in here imports the binding's classes from this file.

import type * as Binding from './binding/index.js'
import { SocketServerError } from './errors.js'

export type {
  ChannelEnd,
  ListenerAddress,
  ListenOutcome,
  NativeReceiver,
  NativeServer,
  Notice,
  ReceivedConnection,
  ReceiverPhase,
  SystemError,
} from './binding/index.js'

const binding = load()

/** Opens the parent's side: one Rust thread that listens, accepts and hands off. */
export function openServer(settings: Binding.NativeServerSettings, wake: () => void): Binding.NativeServer {
  return new binding.NativeServer(settings, wake)
}

/** Opens a worker's side on descriptor `fd`, which it owns from then on. */
export function openReceiver(fd: number, wake: () => void): Binding.NativeReceiver {
  return new binding.NativeReceiver(fd, wake)
}

function load(): typeof Binding {
  try {
    return require('./binding/index.js')
  } catch (cause) {
    throw new SocketServerError(
      'ERR_SOCKETSERVER_UNSUPPORTED_PLATFORM',
      `@socketserver/node has no working binary for ${platform()}: supported are Linux (glibc and musl) and macOS on ` +
        'x64 and arm64; there, reinstall without --omit=optional, or build it from source in a clone of the ' +
        'repository with Rust and `npm run build`',
      { cause },
    )
  }
}

/** This platform as npm and Rust people name it: `linux-x64-glibc`, `darwin-arm64`. */
function platform(): string {
  const name = `${process.platform}-${process.arch}`
  return process.platform === 'linux' ? `${name}-${libc()}` : name
}

function libc(): 'glibc' | 'musl' {
  const report: object = process.report.getReport()
  const header: unknown = Reflect.get(report, 'header')
  const isGlibc = typeof header === 'object' && header !== null && 'glibcVersionRuntime' in header
  return isGlibc ? 'glibc' : 'musl'
}
