// The packed tarballs, installed in an empty folder without Rust.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import test, { type ExecutionContext } from 'ava'

const ROOT = resolve(__dirname, '..', '..', '..')

/** Node and shell commands, without cargo and rustc. */
const WITHOUT_RUST = {
  ...process.env,
  PATH: [dirname(process.execPath), '/usr/bin', '/bin'].join(delimiter),
}

/** A folder with only the package and the binary of this platform installed. */
const directory = mkdtempSync(join(tmpdir(), 'ss-packed-'))

test.before('pack and install', () => {
  const output = join(directory, 'tarballs')
  execFileSync(process.execPath, [join(ROOT, 'scripts', 'pack-local.mjs'), '--built', output], { stdio: 'pipe' })
  const tarballs = readdirSync(output).map((name) => join(output, name))
  writeFileSync(join(directory, 'package.json'), '{ "private": true }')
  const install = ['install', '--offline', '--no-audit', '--no-fund', '--no-package-lock', ...tarballs]
  execFileSync('npm', install, { cwd: directory, env: WITHOUT_RUST, stdio: 'pipe' })
})

test.after.always('remove it all', () => rmSync(directory, { recursive: true, force: true }))

test('the echo example runs with the installed package through import', async (t) => {
  cpSync(join(ROOT, 'examples', 'echo'), join(directory, 'echo'), { recursive: true })
  t.is(await echoOf(t, [join(directory, 'echo', 'server.mjs'), '0'], /^Echoing on \S+:(\d+)/), 'hello\n')
})

test('an echo server runs with the installed package through require', async (t) => {
  writeFileSync(
    join(directory, 'server.cjs'),
    `const { createServer } = require('@socketserver/node')
     const server = createServer({ signals: true })
     server.listen(0, '127.0.0.1').then(async ({ port }) => {
       await server.fork(require.resolve('./worker.cjs'), { workers: 2 }).ready
       console.log('Echoing on 127.0.0.1:' + port)
     })`,
  )
  writeFileSync(
    join(directory, 'worker.cjs'),
    `require('@socketserver/node').connect().on('connection', (socket) => socket.pipe(socket))`,
  )
  t.is(await echoOf(t, [join(directory, 'server.cjs')], /^Echoing on \S+:(\d+)/), 'hello\n')
})

test('the package has no dependencies and contains its types', (t) => {
  const listed = execFileSync('npm', ['ls', '--all', '--parseable'], { cwd: directory, encoding: 'utf8' })
  t.is(listed.trim().split('\n').length, 3)
  t.true(readdirSync(join(directory, 'node_modules', '@socketserver', 'node', 'dist')).includes('index.d.ts'))
})

/** Starts a server, waits for the port that it prints, and returns its echo. */
async function echoOf(t: ExecutionContext, args: readonly string[], announcement: RegExp): Promise<string> {
  const server: ChildProcess = spawn(process.execPath, args, {
    env: WITHOUT_RUST,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(async () => {
    if (server.exitCode === null && server.kill('SIGTERM')) await once(server, 'exit')
  })
  if (server.stdout === null) throw new Error('The output of the server is not a pipe')
  for await (const line of createInterface({ input: server.stdout })) {
    const port = announcement.exec(line)?.[1]
    if (port !== undefined) return echo(Number(port))
  }
  throw new Error('The server exited without printing its port')
}

async function echo(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1').setEncoding('utf8')
  socket.end('hello\n')
  let text = ''
  for await (const piece of socket) text += piece
  return text
}
