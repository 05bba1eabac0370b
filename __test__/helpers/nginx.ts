import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { freePort } from './free-port.js'
import { temporaryDirectory } from './temporary-directory.js'

const build = spawnSync('nginx', ['-V'], { encoding: 'utf8' }).stderr ?? ''
const [, modules = ''] = /--modules-path=(\S+)/.exec(build) ?? []
const streamModule = join(modules, 'ngx_stream_module.so')
const hasStream = /--with-stream(?![\w=])/.test(build) || existsSync(streamModule)
if (!hasStream) console.warn('nginx with its stream module is not installed: tests with it are skipped.')

/** A test that is skipped where nginx, or its stream module, is not installed. */
export const nginxTest = hasStream ? test : test.skip

/**
 * Starts nginx with a block `stream` or `http`, in which PORT means the port of nginx. Returns the port. The first requests may come
 * before nginx listens.
 */
export async function startNginx(t: ExecutionContext, kind: 'stream' | 'http', block: string): Promise<number> {
  const port = await freePort()
  const folder = temporaryDirectory(t)
  const file = join(folder, 'nginx.conf')
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  )
  const lines = [
    ...(existsSync(streamModule) ? [`load_module ${streamModule};`] : []),
    'daemon off;',
    'worker_processes 1;',
    `pid ${folder}/pid;`,
    'error_log stderr crit;',
    'events {}',
    `${kind} {`,
    ...(kind === 'http' ? ['access_log off;', ...paths] : []),
    block.replaceAll('PORT', String(port)),
    '}',
    '',
  ]
  writeFileSync(file, lines.join('\n'))
  const nginx = spawn('nginx', ['-p', folder, '-c', file, '-e', 'stderr'], { stdio: ['ignore', 'ignore', 'inherit'] })
  const exit = once(nginx, 'exit')
  t.teardown(async () => {
    // Also ends the worker process of nginx, which SIGKILL would not.
    nginx.kill('SIGTERM')
    await exit
  })
  return port
}
