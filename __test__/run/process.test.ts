// The process of an app under server.run(), and the processes and threads that the app starts.

import { mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import { linuxTest } from '../helpers/conditional-test.js'
import { fetchOnce } from '../helpers/http.js'
import { runApp, startApp } from '../helpers/run-app.js'
import { writeApp } from '../helpers/write-app.js'

/** Node strips types by default since 22.18. */
const strippingTest = 'typescript' in process.features && process.features.typescript !== false ? test : test.skip

test('an ES module is a worker of cluster, and listens at once', async (t) => {
  const app = writeApp(
    t,
    `import cluster, { isPrimary } from 'node:cluster'
     import { createServer } from 'node:http'
     const server = createServer((_, response) => response.end('module')).listen(0)
     process.send({ event: 'seen', isPrimary, isWorker: cluster.isWorker, isListening: server.listening })`,
    'app.mjs',
  )
  const { reports, port } = await runApp(t, app, { workers: 1 })
  t.like(await reports.next('seen'), { isPrimary: false, isWorker: true, isListening: true })
  t.is((await fetchOnce(port)).body, 'module')
})

test('a program without a file extension runs with empty standard input, and sends messages to the parent', async (t) => {
  const app = writeApp(
    t,
    `#!/usr/bin/env node
     let input = ''
     process.stdin.on('data', (text) => { input += text }).on('end', () => process.send({ event: 'input', input }))
     require('node:http').createServer((_, response) => response.end('program')).listen(0)`,
    'program',
  )
  const { reports, port } = await runApp(t, app, { workers: 1 })
  t.is((await reports.next('input'))['input'], '')
  t.is((await fetchOnce(port)).body, 'program')
})

linuxTest('process.title is the same as in a single process, and the app can set it', async (t) => {
  const app = writeApp(
    t,
    `process.send({ event: 'title', title: process.title })
     process.title = 'an app'
     require('node:http').createServer().listen(0)`,
  )
  const { pool, reports } = await runApp(t, app, { workers: 1 })
  t.is((await reports.next('title'))['title'], process.title)
  t.regex(readFileSync(`/proc/${pool.workers[0]?.pid}/cmdline`, 'utf8'), /^an app\0/)
})

linuxTest('no process that the app starts can find the TLS ticket keys in its environment', async (t) => {
  const app = writeApp(t, "require('node:http').createServer().listen(0)")
  const { pool } = await runApp(t, app, { workers: 1 })
  const variables = readFileSync(`/proc/${pool.workers[0]?.pid}/environ`, 'utf8')
  t.regex(variables, /SOCKETSERVER_SETTINGS=/)
  t.notRegex(variables, /ticket/i)
})

for (const [extension, source] of [
  ['cts', "const { createServer } = require('node:http')"],
  ['mts', "import { createServer } from 'node:http'"],
] as const) {
  strippingTest(`TypeScript runs by Node's type stripping (.${extension})`, async (t) => {
    const app = writeApp(
      t,
      `${source}
       interface Answer { text: string }
       const answer: Answer = { text: 'typed' }
       createServer((_, response) => void response.end(answer.text)).listen(0)`,
      `app.${extension}`,
    )
    const { port } = await runApp(t, app, { workers: 1 })
    t.is((await fetchOnce(port)).body, 'typed')
  })
}

test('symbolic links are resolved: modules of the app have their real path', async (t) => {
  const app = writeApp(
    t,
    `process.send({ event: 'required', path: require('./link') })\nrequire('node:http').createServer().listen(0)`,
  )
  const folder = dirname(app)
  mkdirSync(join(folder, 'packages'))
  writeFileSync(join(folder, 'packages', 'library.js'), 'module.exports = __filename')
  symlinkSync(join('packages', 'library.js'), join(folder, 'link.js'))
  const { reports } = await runApp(t, app, { workers: 1 })
  t.is((await reports.next('required'))['path'], join(realpathSync(folder), 'packages', 'library.js'))
})

test('threads and processes that the app starts listen without the parent', async (t) => {
  const app = writeApp(
    t,
    `const cluster = require('node:cluster')
     const { fork } = require('node:child_process')
     const { Worker, isMainThread, parentPort } = require('node:worker_threads')
     const seen = () => {
       const server = require('node:net').createServer().listen(0)
       const { port } = server.address()
       server.close()
       return { isPrimary: cluster.isPrimary, port, execArgv: process.execArgv }
     }
     if (process.argv[2] === 'child') process.send(seen())
     else if (!isMainThread) parentPort.postMessage(seen())
     else {
       require('node:http').createServer().listen(0)
       fork(__filename, ['child']).on('message', (child) => process.send({ event: 'process', ...child }))
       new Worker(__filename).on('message', (thread) => process.send({ event: 'thread', ...thread }))
     }`,
  )
  const { server, reports } = await runApp(t, app, { workers: 1 })
  for (const event of ['process', 'thread']) {
    t.like(await reports.next(event), { isPrimary: true, execArgv: [] })
  }
  t.is(server.addresses().length, 1)
})

for (const [what, source, message] of [
  ['throws', "throw new Error('no database')", /exited with code 1 before it had listened/],
  ['exits with 0', 'process.exit(0)', /exited with code 0 before it had listened/],
] as const) {
  test(`pool.ready rejects if the app ${what}`, async (t) => {
    const { pool } = startApp(t, writeApp(t, source), { workers: 1, restart: false, silent: true })
    await t.throwsAsync(pool.ready, { code: 'ERR_SOCKETSERVER_WORKER_EXITED', message })
  })
}

test('server.run() throws for an app that does not exist', (t) => {
  t.throws(() => startApp(t, '/nowhere/app.js'), { code: 'ERR_SOCKETSERVER_ENTRY_NOT_FOUND' })
})
