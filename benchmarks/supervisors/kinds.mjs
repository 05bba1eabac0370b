// The supervisors that supervisors.mjs compares. Each runs the same app in the same number of workers.

import { execFile, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../scripts/steps.mjs'

/**
 * @typedef {object} Outcome
 * @property {number} code exit code of the command
 * @property {string} output
 *
 * @typedef {object} Setup
 * @property {string} folder a temporary folder
 * @property {string} app
 * @property {number} port
 * @property {number} workers
 * @property {Record<string, string>} env
 *
 * @typedef {object} Supervisor
 * @property {() => Promise<void>} start returns when the supervisor has been asked to start the app
 * @property {() => Promise<Outcome>} reload
 * @property {() => Promise<void>} stop
 * @property {() => number} pid the process that starts the workers
 *
 * @typedef {{ name: string, create: (setup: Setup) => Supervisor }} Kind
 */

/**
 * @param {string} file
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @param {string} cwd
 * @returns {Promise<Outcome>}
 */
function outcome(file, args, env, cwd) {
  return new Promise((resolve) => {
    const child = execFile(file, args, { env, cwd, maxBuffer: 2 ** 24 }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, output: (stdout + stderr).trim() }),
    )
  })
}

/** Ends a child process and waits for it. @param {import('node:child_process').ChildProcess | undefined} child */
async function end(child) {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
}

/** @type {Kind} */
export const socketserver = {
  name: 'socketserver run',
  create({ folder, app, port, workers, env: given }) {
    const main = join(root, 'dist', 'lib', 'command', 'main.js')
    const runtime = join(folder, 'run')
    mkdirSync(runtime, { recursive: true })
    const env = { ...process.env, ...given, XDG_RUNTIME_DIR: runtime }
    /** @type {import('node:child_process').ChildProcess | undefined} */
    let child
    return {
      async start() {
        const args = [main, 'run', '-w', String(workers), '-p', String(port), app]
        child = spawn(process.execPath, args, { env, cwd: folder, stdio: ['ignore', 'ignore', 'ignore'] })
      },
      reload: () => outcome(process.execPath, [main, 'reload'], env, folder),
      stop: () => end(child),
      pid: () => child?.pid ?? 0,
    }
  },
}

/**
 * @param {string} modules the folder in which PM2 is installed
 * @returns {Kind}
 */
export const pm2 = (modules) => ({
  name: 'PM2, cluster mode',
  create({ folder, app, port, workers, env: given }) {
    const bin = join(modules, 'node_modules', 'pm2', 'bin', 'pm2')
    const home = join(folder, 'pm2')
    const env = { ...process.env, ...given, PM2_HOME: home, PORT: String(port) }
    const command = (/** @type {string[]} */ ...args) => outcome(process.execPath, [bin, ...args], env, folder)
    const pidFile = join(home, 'pm2.pid')
    return {
      async start() {
        const started = await command('start', app, '-i', String(workers), '--name', 'app')
        if (started.code !== 0) throw new Error(started.output)
      },
      reload: () => command('reload', 'app'),
      async stop() {
        await command('kill')
      },
      pid: () => (existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) : 0),
    }
  },
})

/** @type {Kind} */
export const cluster = {
  name: 'node:cluster',
  create({ folder, app, port, workers, env: given }) {
    const primary = join(root, 'benchmarks', 'supervisors', 'cluster-primary.cjs')
    const env = { ...process.env, ...given, PORT: String(port) }
    /** @type {import('node:child_process').ChildProcess | undefined} */
    let child
    let errors = ''
    return {
      async start() {
        const args = [app, String(workers)]
        child = fork(primary, args, { env, cwd: folder, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
        child.stderr?.setEncoding('utf8').on('data', (text) => {
          errors += text
        })
      },
      async reload() {
        if (child === undefined) throw new Error('not started')
        const told = once(child, 'message')
        child.send('reload')
        const [{ code, output }] = await told
        return { code, output: `${errors}${output}`.trim() }
      },
      stop: () => end(child),
      pid: () => child?.pid ?? 0,
    }
  },
}
