import { isMainThread, parentPort } from 'node:worker_threads'
import type { ListenAddress } from '../address.js'
import type { Channel } from '../client/channel/channel.js'
import { Client } from '../client/client.js'
import { parentOf } from '../client/connect.js'
import type { ServedServer, ServeHooks } from '../client/serve/served-server.js'

/** The connection of this worker to its parent: the channel, and the report that the worker is ready. */
export class RunWorker {
  readonly #channel: Channel
  /** Keeps the channel open while the app does not listen, because the app may listen later. */
  readonly #base: Client
  #isReady = false

  constructor(channel: Channel) {
    this.#channel = channel
    this.#base = new Client(parentOf(channel), 0).unref()
    this.#base.attach(channel)
  }

  /** Whether the parent has retired this worker or has exited. The worker then closes its servers without a message to the parent. */
  get isRetired(): boolean {
    const { phase } = this.#channel.phase
    return phase === 'retired' || phase === 'ended' || this.#base.isClosing
  }

  /** Returns the address of the listener that the parent has adopted as its descriptor `fd`. */
  adopted(fd: number): ListenAddress | undefined {
    return this.#channel.settings.adopted.find((adopted) => adopted.fd === fd)?.address
  }

  /** Begins to wait for the condition that makes this worker ready. */
  start(): void {
    const { readyWhen } = this.#channel.settings
    if (readyWhen === 'start') this.#ready()
    if (readyWhen === 'message') this.#watchMessages()
  }

  /** Serves the connections of a lane with the server that `start` returns. */
  serve(lane: number, start: (hooks: ServeHooks) => ServedServer): void {
    const client = new Client(parentOf(this.#channel), lane)
    client.attach(this.#channel)
    client.serveWith(start)
  }

  /** Called when a server of the app listens. */
  listens(): void {
    if (this.#channel.settings.readyWhen === 'listen') this.#ready()
  }

  #ready(): void {
    if (this.#isReady) return
    this.#isReady = true
    this.#channel.open()
  }

  /** Watches the messages that the app sends to its parent. */
  #watchMessages(): void {
    const seen = (message: unknown): void => {
      if (message === 'ready') this.#ready()
    }
    if (isMainThread) watchCalls(process, 'send', seen)
    else if (parentPort !== null) watchCalls(parentPort, 'postMessage', seen)
  }
}

/** Wraps a method, and calls `seen` with the first argument after each call. */
function watchCalls(owner: object, name: string, seen: (argument: unknown) => void): void {
  const original: unknown = Reflect.get(owner, name)
  if (typeof original !== 'function') return
  const replacement = function (this: unknown, ...given: unknown[]): unknown {
    const result: unknown = Reflect.apply(original, this, given)
    seen(given[0])
    return result
  }
  Object.defineProperty(owner, name, { value: replacement, writable: true, configurable: true, enumerable: true })
}
