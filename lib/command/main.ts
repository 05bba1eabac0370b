#!/usr/bin/env node
// The command `socketserver`: docs/command.md.

import { hasCode } from '../errors.js'
import { nearestOf } from '../known-options.js'
import { CommandError, EXIT, usageError } from './command-error.js'
import { HELP } from './help.js'

type Command = (args: readonly string[]) => Promise<void>

/** Loaded on demand, because most commands need neither the server nor its binary. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import('./run.js')).run,
  status: async () => (await import('./orders.js')).status,
  reload: async () => (await import('./orders.js')).reload,
  scale: async () => (await import('./orders.js')).scale,
  stop: async () => (await import('./orders.js')).stop,
  top: async () => (await import('./top.js')).top,
  logs: async () => (await import('./logs.js')).logs,
}

async function main([name, ...args]: readonly string[]): Promise<void> {
  if (name === undefined || name === 'help' || isHelp([name]) || (COMMANDS[name] !== undefined && isHelp(args))) {
    process.stdout.write(HELP)
    // A missing command is a usage error.
    if (name === undefined) process.exitCode = EXIT.usage
    return
  }
  if (name === '--version' || name === '-v') {
    process.stdout.write(`${version()}\n`)
    return
  }
  const load = COMMANDS[name]
  if (load === undefined) throw unknownCommand(name)
  const command = await load()
  await command(args)
}

/** Returns whether the arguments ask for help. Arguments after the app belong to the app. */
function isHelp([first]: readonly string[]): boolean {
  return first === '--help' || first === '-h'
}

function unknownCommand(name: string): Error {
  const nearest = nearestOf(name, Object.keys(COMMANDS))
  if (nearest !== undefined) return usageError(`unknown command '${name}'; did you mean '${nearest}'?`)
  if (/[./]/.test(name)) return usageError(`unknown command '${name}'. To run it, type: socketserver run ${name}`)
  return usageError(`unknown command '${name}'; 'socketserver --help' lists the commands`)
}

function version(): string {
  return Reflect.get(require('../../../package.json'), 'version')
}

const isParent = process.argv[2] === 'run'
for (const stream of [process.stdout, process.stderr]) {
  // EPIPE: `socketserver logs | head` is not an error. The parent of an app continues when nobody reads its messages.
  stream.on('error', (error) => {
    if (!hasCode(error, 'EPIPE') && !hasCode(error, 'EIO')) throw error
    if (!isParent) process.exit()
  })
}

main(process.argv.slice(2)).catch((error) => {
  const text = error instanceof CommandError ? error.message : error instanceof Error ? error.stack : String(error)
  process.stderr.write(`socketserver: ${text}\n`)
  process.exitCode = error instanceof CommandError ? error.exitCode : EXIT.failed
})
