// `socketserver run`: runs the parent of an app in the foreground.

import type { ServerResponse } from 'node:http'
import { relative } from 'node:path'
import { addressText } from '../address.js'
import type { ListenOptions } from '../server/listen/listen-target.js'
import type { AdminOptions } from '../server/observe/admin-options.js'
import type { Pool } from '../server/pool/pool.js'
import { createServer, type Server } from '../server/server.js'
import type { WorkerHandle } from '../server/worker/worker-handle.js'
import { requireApp } from './app-entry.js'
import { appStatus } from './app-status.js'
import { CommandError, EXIT, reasonOf, usageError } from './command-error.js'
import { ControlClient } from './control/control-client.js'
import { newControlPath } from './control/control-path.js'
import type { Changed, Status, Stopped } from './control/control-protocol.js'
import { AlreadyRunning, ControlServer, sendJson } from './control/control-server.js'
import { EventLoops } from './event-loops.js'
import { firstStart } from './first-start.js'
import { colourVariables, WorkerOutput } from './log/worker-output.js'
import { writePidFile } from './pid-file.js'
import { failureText, plural, printMessage } from './report.js'
import { environmentOf } from './settings/environment.js'
import { type RunSettings, readRunSettings } from './settings/run-settings.js'
import { startPool } from './start-pool.js'
import { ControllingTerminal } from './terminal.js'
import { FolderWatcher } from './watch/folder-watcher.js'
import { WorkerSlots } from './worker-slots.js'

/** Runs an app until the app is stopped. Throws if the app cannot be started. */
export async function run(args: readonly string[]): Promise<void> {
  const settings = await readRunSettings(args, printMessage)
  requireApp(settings.app, settings.cwd)
  await new RunningApp(settings).start()
}

class RunningApp {
  readonly #settings: RunSettings
  readonly #startedAt = new Date()
  readonly #server: Server
  readonly #slots: WorkerSlots
  readonly #loops = new EventLoops()
  readonly #env: NodeJS.ProcessEnv
  /** Undefined if workers inherit standard output and standard error. */
  readonly #output: WorkerOutput | undefined
  #bound: Record<string, string> = {}
  #pool: Pool<WorkerHandle> | undefined
  #isAnyReady = false

  constructor(settings: RunSettings) {
    const { maxQueue, queueTimeout, policy, drainDelay } = settings
    this.#settings = settings
    this.#server = createServer({ signals: { drainDelay }, maxQueue, queueTimeout, policy })
    this.#slots = new WorkerSlots(this.#server)
    const isPiped = settings.logPrefix ?? (process.stdout.isTTY && settings.workers > 1)
    this.#output = isPiped ? new WorkerOutput(this.#server) : undefined
    this.#env = this.#environment()
  }

  async start(): Promise<void> {
    const { name, pidFile, bind, admin, keepTrying } = this.#settings
    const control = await this.#openControl()
    const cleanUp = [() => control.close(), () => this.#output?.log.close()]
    this.#server.once('close', () => end(cleanUp))
    process.once('exit', () => end(cleanUp))
    try {
      if (pidFile !== undefined) cleanUp.push(writePidFile(pidFile))
      await this.#bind(bind)
      await this.#openAdmin(admin)
      this.#server.on('error', (error) => this.#failed(error))
      this.#server.once('worker', () => {
        this.#isAnyReady = true
      })
      this.#pool = startPool(this.#server, this.#settings, this.#env, this.#output !== undefined)
      this.#onSignals(this.#pool)
      cleanUp.push(this.#watch())
      const report = (error: unknown): void => printMessage(this.#reason(error))
      if (!(await firstStart(this.#server, this.#pool, keepTrying, report))) return
    } catch (error) {
      this.#server.destroy()
      throw new CommandError(`${this.#settings.app} could not be started: ${this.#reason(error)}`, EXIT.failed, error)
    }
    const where = this.#server.addresses().map(addressText).join(', ') || 'nowhere'
    printMessage(`${name} (pid ${process.pid}) has ${plural(this.#pool.size, 'worker')} and listens on ${where}`)
  }

  /** Listens on the addresses of `--bind`. The first address becomes the PORT of the app, unless `--port` is given. */
  async #bind(targets: readonly ListenOptions[]): Promise<void> {
    const addresses = []
    const { routing } = this.#settings
    // The clients of a Unix socket have an address only behind a proxy.
    const ofPath = { ...routing, maxPerSource: routing.proxyProtocol && routing.maxPerSource }
    for (const target of targets) {
      addresses.push(await this.#server.listen({ ...target, ...('path' in target ? ofPath : routing) }))
    }
    const [first] = addresses
    if (first === undefined) return
    this.#bound = { PORT: String('port' in first ? first.port : first.path) }
    Object.assign(this.#env, this.#environment())
  }

  async #openAdmin(options: AdminOptions | undefined): Promise<void> {
    if (options === undefined) return
    const address = addressText(await this.#server.admin(options))
    printMessage(
      options.path === undefined
        ? `page, metrics and probes: http://${address}/`
        : `page, metrics and probes: ${address}`,
    )
  }

  async #openControl(): Promise<ControlServer> {
    const { name, control } = this.#settings
    try {
      return await ControlServer.open(control ?? newControlPath(name), {
        'GET /status': async (response) => sendJson(response, await this.#status()),
        'POST /reload': async (response) => sendJson(response, await this.#reload()),
        'POST /scale': async (response, query) => sendJson(response, await this.#scale(query.get('workers') ?? '')),
        'GET /logs': (response, query) => this.#logs(response, query.has('follow')),
        'POST /stop': (response) => this.#stop((stopped) => sendJson(response, stopped)),
      })
    } catch (error) {
      if (!(error instanceof AlreadyRunning)) throw error
      const { pid } = await new ControlClient(name, error.path).ask<Status>('GET', '/status')
      throw new CommandError(
        `an app named '${name}' is running already (pid ${pid}). Stop it: socketserver stop ${name}, or choose another name: --name`,
      )
    }
  }

  get #running(): Pool<WorkerHandle> {
    if (this.#pool !== undefined) return this.#pool
    throw new CommandError(`${this.#settings.name} is still starting`)
  }

  #status(): Promise<Status> {
    return appStatus(this.#settings.name, this.#startedAt, this.#server, this.#pool, this.#loops)
  }

  async #reload(): Promise<Changed> {
    const pool = this.#running
    const before = { ...this.#env }
    try {
      replace(this.#env, this.#environment())
      await pool.reload()
    } catch (error) {
      // The old workers continue, and restarted workers get the same environment.
      replace(this.#env, before)
      throw new CommandError(`the reload failed, and the old workers continue: ${this.#reason(error)}`)
    }
    return changed(pool)
  }

  async #scale(target: string): Promise<Changed> {
    const pool = this.#running
    const before = pool.size
    const [, sign = '', digits] = /^([+-]?)(\d{1,5})$/.exec(target) ?? []
    if (digits === undefined) throw usageError(`scale takes a number of workers, +n or -n, not '${target}'`)
    const size = sign === '' ? Number(digits) : before + Number(target)
    if (size < 1) throw usageError(`at least 1 worker has to stay; there are ${before}`)
    try {
      await pool.resize(size)
    } catch (error) {
      // Otherwise the pool would retry the new slots without end.
      if (pool.size > before) await pool.resize(before)
      throw new CommandError(`the number of workers stays ${before}: ${this.#reason(error)}`)
    }
    return changed(pool)
  }

  /** Closes the server in the same way as SIGTERM. Calls `answer` when the server has closed. */
  #stop(answer: (stopped: Stopped) => void): void {
    const before = this.#server.stats().cut
    this.#server.once('close', () => answer({ cut: this.#server.stats().cut - before }))
    process.kill(process.pid, 'SIGTERM')
  }

  #environment(): NodeJS.ProcessEnv {
    const { environment } = this.#settings
    const env = environmentOf({ ...environment, options: { ...this.#bound, ...environment.options } })
    return this.#output === undefined ? env : { ...env, ...colourVariables(env) }
  }

  #logs(response: ServerResponse, follow: boolean): void {
    if (this.#output === undefined) {
      throw new CommandError(
        `the output of ${this.#settings.name} goes straight to its terminal or file. Start it with --log-prefix to read it here`,
      )
    }
    response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' })
    response.flushHeaders()
    this.#output.log.send(response, follow)
  }

  /** Reloads the app when files change. Returns a function that stops watching. */
  #watch(): () => void {
    const { watch: paths, ignoreWatch, cwd, pidFile, control } = this.#settings
    if (paths === undefined) return () => {}
    const watcher = new FolderWatcher({
      paths,
      ignored: [...ignoreWatch, ...[pidFile, control].filter((path) => path !== undefined)],
      root: cwd,
      changed: (path) => {
        printMessage(`${relative(cwd, path)} has changed: reloads`)
        this.#reload().then(
          () => printMessage('reloaded'),
          (error) => printMessage(reasonOf(error)),
        )
      },
      failed: (error) => printMessage(`cannot watch: ${error.message}`),
    })
    return () => watcher.close()
  }

  #onSignals(pool: Pool<WorkerHandle>): void {
    const reportFailure = (action: Promise<unknown>): void =>
      void action.catch((error) => printMessage(reasonOf(error)))
    const terminal = new ControllingTerminal()
    process.on('SIGHUP', () => {
      if (terminal.isClosed()) process.kill(process.pid, 'SIGTERM')
      else reportFailure(this.#reload().then(() => printMessage('reloaded')))
    })
    process.on('SIGTTIN', () => reportFailure(this.#scale('+1').then(() => printMessage(plural(pool.size, 'worker')))))
    process.on('SIGTTOU', () => reportFailure(this.#scale('-1').then(() => printMessage(plural(pool.size, 'worker')))))
    // The default action would end the process. The signal is reserved for upgrades of the parent.
    process.on('SIGUSR2', () => {})
  }

  #failed(error: Error): void {
    // start() reports a failure of the first start with its reason.
    if (this.#isAnyReady || this.#settings.keepTrying) printMessage(this.#reason(error))
  }

  #reason(error: unknown): string {
    return failureText(error, this.#slots.slotOf)
  }
}

function changed(pool: Pool<WorkerHandle>): Changed {
  return { workers: pool.size, generation: Math.max(0, ...pool.workers.map(({ generation }) => generation)) }
}

/** Replaces the variables of an environment. */
function replace(env: NodeJS.ProcessEnv, variables: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(env)) delete env[name]
  Object.assign(env, variables)
}

function end(cleanUp: (() => void)[]): void {
  for (const act of cleanUp.splice(0).reverse()) act()
}
