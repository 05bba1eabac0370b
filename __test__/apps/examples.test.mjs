// The examples that need socket.io, HAProxy or a certificate run as examples/README.md says.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { io } from 'socket.io-client'
import { INSTALLED, startProxy } from './support/proxies.mjs'

const EXAMPLES = new URL('../../examples/', import.meta.url)
const CERTIFICATES = new URL('certificates/', import.meta.url)

test('socket.io runs on all cores by one file', async (t) => {
  const { port, stop } = await startExample(t, 'socket.io/app.mjs')
  const answers = await Promise.all(Array.from({ length: 20 }, () => hello(t, port, '127.0.0.1')))
  for (const answer of answers) t.regex(answer, /^Hello, 127\.0\.0\.1: this is worker \d+\.$/)
  t.is(await stop(), 0)
})

const haproxyTest = INSTALLED.haproxy ? test : test.skip

haproxyTest('socket.io behind the HAProxy of the example knows the address of its client', async (t) => {
  const { port, stop } = await startExample(t, 'socket.io/app.mjs', { PROXY: '127.0.0.1' })
  const file = fileURLToPath(new URL('socket.io/haproxy.cfg', EXAMPLES))
  const front = await startProxy(t, (free) => {
    const env = { ...process.env, FRONT: `127.0.0.1:${free}`, APP: `127.0.0.1:${port}` }
    return spawn('haproxy', ['-db', '-f', file], { env, stdio: ['ignore', 'ignore', 'inherit'] })
  })
  const addresses = Array.from({ length: 20 }, (_, index) => `127.0.0.${index + 2}`)
  const answers = await Promise.all(addresses.map((address) => hello(t, front, address)))
  t.deepEqual(
    answers.map((answer) => answer.replace(/: .*/, '')),
    addresses.map((address) => `Hello, ${address}`),
  )
  t.is(await stop(), 0)
})

test('each of two host names has its own workers', async (t) => {
  const env = { KEY: certificate('one.key.pem'), CERT: certificate('one.pem') }
  const { port, stop } = await startExample(t, 'servernames/server.mjs', env)
  const pids = new Set()
  for (const name of ['api.localhost', 'www.localhost']) {
    const answer = await answerOf(port, name)
    t.regex(answer, new RegExp(`^This is process \\d+, for ${name}\\.\n$`))
    pids.add(answer.match(/\d+/)?.[0])
  }
  t.is(pids.size, 2)
  t.is(await stop(), 0)
})

/** @param {string} file */
function certificate(file) {
  return fileURLToPath(new URL(file, CERTIFICATES))
}

/**
 * Starts an example on a free port. Returns the port, and a function that stops the example as Ctrl-C does and returns its exit code.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {string} path
 * @param {NodeJS.ProcessEnv} [env]
 */
async function startExample(t, path, env = {}) {
  const file = fileURLToPath(new URL(path, EXAMPLES))
  const program = spawn(process.execPath, [file, '0'], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exit = once(program, 'exit')
  t.teardown(async () => {
    program.kill('SIGKILL')
    await exit
  })
  const [line] = await Promise.race([once(createInterface(program.stdout), 'line'), exit])
  const [, port] = /:(\d+)\//.exec(String(line)) ?? []
  if (port === undefined) throw new Error(`the example has not started: ${line}`)
  const stop = async () => {
    program.kill('SIGINT')
    const [code, signal] = await exit
    return code ?? signal
  }
  return { port: Number(port), stop }
}

/**
 * Connects a client with the default transports from an address, and returns what its worker says. Rejects if the first attempt
 * to connect fails.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {number} port
 * @param {string} localAddress
 * @returns {Promise<string>}
 */
async function hello(t, port, localAddress) {
  const agent = new http.Agent({ keepAlive: true, localAddress })
  const options = { forceNew: true, agent }
  const client = io(`http://127.0.0.1:${port}`, options)
  t.teardown(() => {
    client.close()
    agent.destroy()
  })
  return await new Promise((resolve, reject) => {
    client.once('connect_error', reject)
    client.emitWithAck('hello').then(resolve, reject)
  })
}

/**
 * Returns the answer to a request for a host name.
 *
 * @param {number} port
 * @param {string} servername
 */
async function answerOf(port, servername) {
  const options = { host: '127.0.0.1', port, servername, rejectUnauthorized: false, agent: false }
  const [response] = await once(https.get(options), 'response')
  return await text(response)
}
