import test from 'ava'
import { ask } from '../helpers/caller.js'
import { run } from '../helpers/program.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'

test('import and require load the same module instance with the same exports', async (t) => {
  const program = run(t, 'import-and-require')
  t.deepEqual(await program.json(), {
    names: [
      'Descriptor',
      'DescriptorListener',
      'DescriptorStream',
      'SocketServerError',
      'connect',
      'connectionOf',
      'createServer',
      'exposeMetrics',
      'isWorker',
      'sessionId',
      'worker',
    ],
    imported: true,
    byDefault: true,
    again: true,
    byPath: true,
    sameError: true,
    sameConnect: true,
  })
  t.is(await program.exit(), 0)
})

test('a CommonJS parent can start ES module workers and CommonJS workers', async (t) => {
  const program = run(t, 'parent-with-both-module-systems')
  t.like(await program.json(), { answeredBy: 'import' })
  t.like(await program.json(), { remoteAddress: '127.0.0.1' })
  t.is(await program.exit(), 0)
})

test('without a binary for the platform, loading fails with an error that suggests a solution', async (t) => {
  const program = run(t, 'load-on-unsupported-platform')
  const { code, message, hasCause } = JSON.parse(await program.line())
  t.is(code, 'ERR_SOCKETSERVER_UNSUPPORTED_PLATFORM')
  t.regex(
    message,
    /^@socketserver\/node has no working binary for sunos-sparc: supported are Linux .* and macOS .*build/,
  )
  t.true(hasCause)
  t.is(await program.exit(), 0)
})

test('a binary that exists but cannot be loaded is reported with its own error first', async (t) => {
  const program = run(t, 'report-load-error', { execArgv: ['--no-addons'] })
  const { code, message, cause } = JSON.parse(await program.line())
  t.is(code, 'ERR_SOCKETSERVER_UNSUPPORTED_PLATFORM')
  t.regex(
    message,
    /^@socketserver\/node cannot load its binary for \S+: Cannot load native addon because loading addons is disabled\./,
  )
  t.regex(message, /--allow-addons/)
  t.regex(cause, /loading addons is disabled/)
  t.is(await program.exit(), 0)
})

test('a worker does not load crypto or http modules that it does not use', async (t) => {
  const server = startServer(t)
  forkFixture(server, 'report-loaded-modules')
  const loaded = JSON.parse(await ask(await listen(server)))
  t.true(loaded.includes('NativeModule net'))
  for (const name of ['crypto', 'tls', 'http', 'https', 'http2']) t.false(loaded.includes(`NativeModule ${name}`), name)
})
