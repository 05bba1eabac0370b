// Real proxies in front of a server: HAProxy and nginx, each with a configuration of the test.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** The proxies that are installed. */
export const INSTALLED = { haproxy: isInstalled('haproxy'), nginx: isInstalled('nginx') }

/** @param {string} command */
function isInstalled(command) {
  const found = spawnSync(command, ['-v']).status === 0
  if (!found) console.warn(`${command} is not installed: tests with it are skipped.`)
  return found
}

/**
 * Starts HAProxy in front of a server. Returns the port of HAProxy.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {number} server the port of the server
 * @param {string} [setting] a further line of the section `listen`
 */
export async function startHaproxy(t, server, setting = '') {
  return await startProxy(t, (port, folder) => {
    const file = join(folder, 'haproxy.cfg')
    const lines = [
      'defaults',
      '  mode http',
      '  timeout connect 5s',
      '  timeout client 60s',
      '  timeout server 60s',
      '  timeout tunnel 1h',
      'listen front',
      `  bind 127.0.0.1:${port}`,
      `  ${setting}`,
      `  server app 127.0.0.1:${server}`,
      '',
    ]
    writeFileSync(file, lines.join('\n'))
    return spawn('haproxy', ['-f', file, '-db'], { stdio: ['ignore', 'ignore', 'inherit'] })
  })
}

/**
 * Starts nginx with a pool of kept connections in front of a server. Returns the port of nginx.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {number} server the port of the server
 * @param {'close' | ''} connection the header `Connection` of a request without Upgrade: nginx keeps the connection unless it is `close`
 */
export async function startNginx(t, server, connection) {
  return await startProxy(t, (port, folder) => {
    const file = join(folder, 'nginx.conf')
    const lines = [
      'daemon off;',
      'worker_processes 1;',
      `pid ${folder}/pid;`,
      'error_log stderr crit;',
      'events { worker_connections 2000; }',
      'http {',
      '  access_log off;',
      ...['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `  ${name}_temp_path ${folder}/${name};`),
      `  map $http_upgrade $connection_upgrade { default upgrade; '' '${connection}'; }`,
      `  upstream app { server 127.0.0.1:${server} max_fails=0; keepalive 16; }`,
      '  server {',
      `    listen 127.0.0.1:${port};`,
      '    location / {',
      '      proxy_pass http://app;',
      '      proxy_http_version 1.1;',
      '      proxy_set_header Upgrade $http_upgrade;',
      '      proxy_set_header Connection $connection_upgrade;',
      '    }',
      '  }',
      '}',
      '',
    ]
    writeFileSync(file, lines.join('\n'))
    return spawn('nginx', ['-p', folder, '-c', file, '-e', 'stderr'], { stdio: ['ignore', 'ignore', 'inherit'] })
  })
}

/**
 * Starts a proxy on a free port. Starts the proxy again if another program has taken the port meanwhile.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {(port: number, folder: string) => import('node:child_process').ChildProcess} start
 */
export async function startProxy(t, start) {
  const folder = mkdtempSync(join(tmpdir(), 'proxy-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  for (let attempt = 0; attempt < 3; attempt++) {
    const port = await freePort()
    const proxy = start(port, folder)
    const exit = once(proxy, 'exit')
    t.teardown(async () => {
      // Also ends the worker process of nginx, which SIGKILL would not.
      proxy.kill('SIGTERM')
      await exit
    })
    if (await listens(port, proxy)) return port
  }
  throw new Error('the proxy has ended before it listened')
}

/**
 * Waits until a process listens on its port. Returns false if the process has ended.
 *
 * @param {number} port
 * @param {import('node:child_process').ChildProcess} proxy
 */
async function listens(port, proxy) {
  while (proxy.exitCode === null) {
    const socket = connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return true
    } catch {
      await delay(20)
    } finally {
      socket.destroy()
    }
  }
  return false
}

/** Returns a port of 127.0.0.1 on which no program listens. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (typeof address !== 'object' || address === null) throw new Error('the server has no port')
  return address.port
}
