import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { library } from '../helpers/library.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'

const { readRunSettings } = library('command/settings/run-settings')

/** Writes a config file beside a folder app/src, and reads the settings of `socketserver run` with it. */
async function settingsOf(t: ExecutionContext, file: string, text: string, ...args: string[]) {
  const folder = temporaryDirectory(t)
  mkdirSync(join(folder, 'app', 'src'), { recursive: true })
  writeFileSync(join(folder, file), text)
  const notes: string[] = []
  const settings = await readRunSettings([...args, join(folder, file)], (note) => notes.push(note))
  return { folder, settings, notes }
}

const CONFIG = {
  app: 'server.js',
  args: ['--verbose'],
  workers: 3,
  maxMemory: '300M',
  env: { NODE_ENV: 'production', DEBUG: true, LEVEL: 3 },
  envFile: '.env',
  restart: { minUptime: 5 },
}

for (const [file, text] of [
  ['socketserver.config.json', JSON.stringify(CONFIG)],
  ['socketserver.config.cjs', `module.exports = ${JSON.stringify(CONFIG)}`],
  ['socketserver.config.js', `module.exports = ${JSON.stringify(CONFIG)}`],
  ['socketserver.config.mjs', `export default ${JSON.stringify(CONFIG)}`],
] as const) {
  test(`${file} has the settings, with paths relative to its folder`, async (t) => {
    const { folder, settings, notes } = await settingsOf(t, file, text)
    t.like(settings, { app: 'server.js', args: ['--verbose'], workers: 3, name: 'server', cwd: folder })
    t.is(settings.maxMemory, 300 * 2 ** 20)
    t.deepEqual(settings.restart, { minUptime: 5 })
    t.deepEqual(settings.environment, {
      envFiles: [join(folder, '.env')],
      config: { NODE_ENV: 'production', DEBUG: 'true', LEVEL: '3' },
      options: {},
    })
    t.deepEqual(notes, [])
  })
}

test('the command line takes precedence over the config file', async (t) => {
  const { settings } = await settingsOf(t, 'socketserver.config.json', JSON.stringify(CONFIG), '-w', '5', '-p', '1')
  t.is(settings.workers, 5)
  t.is(settings.environment.options['PORT'], '1')
})

test('paths in a config file are relative to its folder, also the path of a Unix socket', async (t) => {
  const config = { app: 'a.js', bind: ['unix:run/app.sock', '8080'], pidFile: 'run/app.pid', control: 'run/app.ctl' }
  const { folder, settings } = await settingsOf(t, 'socketserver.config.json', JSON.stringify(config))
  t.deepEqual(settings.bind, [{ path: join(folder, 'run', 'app.sock') }, { port: 8080 }])
  t.like(settings, { pidFile: join(folder, 'run', 'app.pid'), control: join(folder, 'run', 'app.ctl') })
})

// This test does not start the command, because Node 20 itself exits with 9 for a missing --env-file, also after the script.
test('the error message contains the path of a missing env file', async (t) => {
  const config = JSON.stringify({ app: 'a.js', envFile: 'nowhere' })
  await t.throwsAsync(settingsOf(t, 'socketserver.config.json', config), {
    message: /the env file .*nowhere cannot be read: ENOENT/,
  })
})

for (const [config, message] of [
  [{ app: 'a.js', worker: 4 }, /unknown key 'worker' in .*; did you mean 'workers'\?/],
  [{ workers: 4 }, /the config file must have an 'app'/],
  [{ app: 'a.js', workers: 'many' }, /'workers' in socketserver\.config\.json must be a whole number .* not 'many'/],
  [{ app: 'a.js', env: 3 }, /'env' in socketserver\.config\.json must be an object of variables, not 3/],
  [{ app: 'a.js', env: { A: [] } }, /the variable A must be a string, a number or a boolean, not \[\]/],
  [{ app: 'a.js', keepTrying: 'yes' }, /'keepTrying' in socketserver\.config\.json must be true or false, not 'yes'/],
] as const) {
  test(`a config file with ${JSON.stringify(config)} is refused`, async (t) => {
    await t.throwsAsync(settingsOf(t, 'socketserver.config.json', JSON.stringify(config)), { message })
  })
}

test('PM2’s ecosystem file is read, and one message lists the fields without effect', async (t) => {
  const { folder, settings, notes } = await settingsOf(
    t,
    'ecosystem.config.js',
    `module.exports = { apps: [{
      name: 'my shop', script: './dist/main.js', args: '--verbose "two words"', cwd: 'app', instances: -1, exec_mode: 'cluster',
      node_args: '--no-warnings', interpreter: 'node', max_memory_restart: '1G', kill_timeout: 60000, listen_timeout: 8000,
      wait_ready: true, watch: ['src'], ignore_watch: ['src/log'], port: 4000, min_uptime: 1000, max_restarts: 9,
      exp_backoff_restart_delay: 50, source_map_support: true, log_date_format: 'HH:mm', error_file: 'err.log', merge_logs: true,
      env: { NODE_ENV: 'development', A: 1 }, env_production: { NODE_ENV: 'production' },
    }], deploy: {} }`,
    '--env',
    'production',
  )
  t.like(settings, {
    name: 'my-shop',
    app: './dist/main.js',
    args: ['--verbose', 'two words'],
    cwd: join(folder, 'app'),
    workers: Math.max(1, availableParallelism() - 1),
    nodeArgs: ['--no-warnings', '--enable-source-maps'],
    maxMemory: 2 ** 30,
    killTimeout: 60_000,
    drainTimeout: 60_000,
    readyTimeout: 8000,
    ready: 'message',
    watch: [join(folder, 'app', 'src')],
    ignoreWatch: ['src/log'],
    restart: { minUptime: 1000, crashLoop: 9, minDelay: 50 },
  })
  t.deepEqual(settings.environment.config, { NODE_ENV: 'production', A: '1' })
  t.deepEqual(settings.environment.options, { PORT: '4000' })
  t.deepEqual(notes, [
    'ecosystem.config.js: these fields have no effect: log_date_format, error_file, merge_logs (docs/from-pm2.md)',
  ])
})

test('instances 0 and max are one worker per CPU, and autorestart: false disables restarts', async (t) => {
  for (const instances of [0, 'max', '0']) {
    const app = JSON.stringify({ apps: [{ script: 'a.js', instances, autorestart: false }] })
    const { settings } = await settingsOf(t, 'ecosystem.config.json', app)
    t.is(settings.workers, availableParallelism())
    t.is(settings.restart, false)
  }
})

test('one of several apps must be chosen', async (t) => {
  const apps = JSON.stringify({
    apps: [
      { name: 'a', script: 'a.js' },
      { name: 'b', script: 'b.js' },
    ],
  })
  await t.throwsAsync(settingsOf(t, 'ecosystem.config.json', apps), { message: /has 2 apps: a, b\. .* --only a/ })
  await t.throwsAsync(settingsOf(t, 'ecosystem.config.json', apps, '--only', 'c'), {
    message: /has no app 'c', only a, b/,
  })
  const { settings } = await settingsOf(t, 'ecosystem.config.json', apps, '--only', 'b')
  t.is(settings.app, 'b.js')
})

test('a missing environment of PM2, and another interpreter, are refused', async (t) => {
  const app = JSON.stringify({ apps: [{ script: 'a.js' }] })
  await t.throwsAsync(settingsOf(t, 'ecosystem.config.json', app, '--env', 'x'), { message: /has no env_x/ })
  const python = JSON.stringify({ apps: [{ script: 'a.py', interpreter: 'python3' }] })
  await t.throwsAsync(settingsOf(t, 'ecosystem.config.json', python), {
    message: /'interpreter' .* must be node, not 'python3'/,
  })
})

test('aliases of PM2’s fields, and times with a unit, are accepted', async (t) => {
  const app = {
    exec: 'a.js',
    exec_interpreter: 'node',
    interpreterArgs: '--no-warnings',
    pid: 'a.pid',
    min_uptime: '2m',
  }
  const { folder, settings, notes } = await settingsOf(t, 'ecosystem.config.json', JSON.stringify({ apps: [app] }))
  t.like(settings, { app: 'a.js', nodeArgs: ['--no-warnings'], pidFile: join(folder, 'a.pid') })
  t.like(settings.restart, { minUptime: 120_000 })
  t.deepEqual(notes, [])
})

test('every option of the command line is a setting', async (t) => {
  const args = [
    ...[
      '-w',
      '3',
      '-p',
      '0',
      '--bind',
      '[::1]:80',
      '--bind',
      'fd:3',
      '--threads',
      '--ready',
      'message',
      '--keep-trying',
    ],
    ...[
      '--ready-timeout',
      '1',
      '--drain-timeout',
      '2',
      '--kill-timeout',
      '3',
      '--max-connections',
      '4',
      '--max-queue',
      '5',
    ],
    ...['--queue-timeout', '6', '--policy', 'round-robin', '--env-file', 'a', '--env-file', 'b', '--cwd', '/tmp'],
    ...['--node-arg', '--no-warnings', '--node-arg=--inspect=0', '--log-prefix', '--pid-file', 'p', '--name', 'n'],
    ...['--sticky', 'header:x-user', '--proxy-protocol', '10.0.0.0/8,::1,unix', '--max-per-source', '7'],
    ...['--control', 'c', '--watch', 'app.js', '--threads', '-w', 'x'],
  ]
  const settings = await readRunSettings(args, () => {})
  t.like(settings, {
    app: 'app.js',
    args: ['--threads', '-w', 'x'],
    name: 'n',
    cwd: '/tmp',
    workers: 3,
    threads: true,
    nodeArgs: ['--no-warnings', '--inspect=0'],
    bind: [{ port: 80, host: '::1' }, { fd: 3 }],
    ready: 'message',
    readyTimeout: 1,
    drainTimeout: 2,
    killTimeout: 3,
    keepTrying: true,
    maxConnections: 4,
    maxQueue: 5,
    queueTimeout: 6,
    policy: 'round-robin',
    routing: {
      sticky: { header: 'x-user' },
      proxyProtocol: { from: ['10.0.0.0/8', '::1', 'unix'] },
      maxPerSource: 7,
    },
    watch: ['/tmp'],
    logPrefix: true,
  })
  t.deepEqual(
    [settings.pidFile, settings.control],
    ['p', 'c'].map((name) => join(process.cwd(), name)),
  )
  t.deepEqual(
    settings.environment.envFiles,
    ['a', 'b'].map((name) => join(process.cwd(), name)),
  )
  t.deepEqual(settings.environment.options, { PORT: '0' })
})

test('the routing options of a config file are texts, lists or the objects of listen()', async (t) => {
  const read = async (config: object) =>
    (await settingsOf(t, 'socketserver.config.json', JSON.stringify({ app: 'a.js', ...config }))).settings.routing
  t.deepEqual(await read({ sticky: 'sni', proxyProtocol: ['::1', 'unix'], maxPerSource: 5 }), {
    sticky: 'sni',
    proxyProtocol: { from: ['::1', 'unix'] },
    maxPerSource: 5,
  })
  t.deepEqual((await read({ sticky: 'address:strict' }))?.sticky, { by: 'address', strict: true })
  const objects = {
    sticky: { query: 'sid', wait: 5 },
    proxyProtocol: { from: 'unix', others: 'refuse' },
    maxPerSource: 6,
  }
  t.deepEqual(await read(objects), objects)
  await t.throwsAsync(read({ sticky: { cookie: 'a', query: 'b' } }), { message: /'sticky' in .* must have one of/ })
  await t.throwsAsync(read({ proxyProtocol: { others: 'refuse' } }), { message: /'proxyProtocol' in .*from/ })
})

test('options may follow a config file, and arguments for its app follow --', async (t) => {
  const folder = temporaryDirectory(t)
  const file = join(folder, 'ecosystem.config.json')
  const app = { script: 'a.js', instances: 2, env_production: { A: '1' } }
  writeFileSync(file, JSON.stringify({ apps: [app] }))
  const read = (...args: string[]) => readRunSettings(args, (note) => t.fail(note))
  const settings = await read('-w', '3', '--name', 'x', file, '--env', 'production', '-w', '4', '--', '--verbose', '-w')
  t.like(settings, { name: 'x', workers: 4, args: ['--verbose', '-w'] })
  t.is(settings.environment.config['A'], '1')
  await t.throwsAsync(read(file, '--env', 'nope'), { message: /has no env_nope/ })
  await t.throwsAsync(read(file, '--only'), { message: /option --only needs a value/ })
})
