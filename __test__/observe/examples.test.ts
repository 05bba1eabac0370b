// The files in examples/observe contain only existing metrics, paths and options.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { serve } from '../helpers/served.js'

const EXAMPLES = join(__dirname, '..', '..', '..', 'examples', 'observe')

const hasPromtool = spawnSync('promtool', ['--version']).status === 0
if (!hasPromtool) console.warn('promtool is not installed (Debian: prometheus): its check of the rules is skipped.')
const promtoolTest = hasPromtool ? test : test.skip

for (const file of ['grafana-dashboard.json', 'alerts.yml']) {
  test(`${file} contains only metrics of a server`, async (t) => {
    const text = readFileSync(join(EXAMPLES, file), 'utf8')
    const { server } = await serve(t, 'echo')
    const names = new Set(server.metrics().match(/^socketserver_\w+/gm))
    const used = [...new Set(text.match(/socketserver_\w+/g))].filter((name) => name !== 'socketserver_')
    t.true(used.length > 5)
    t.deepEqual(
      used.filter((name) => !names.has(name)),
      [],
    )
  })
}

test('the dashboard is JSON whose panels do not overlap', (t) => {
  const { panels } = JSON.parse(readFileSync(join(EXAMPLES, 'grafana-dashboard.json'), 'utf8'))
  const positions = panels.map(({ gridPos: { x, y } }: { gridPos: { x: number; y: number } }) => `${x} ${y}`)
  t.is(new Set(positions).size, positions.length)
})

promtoolTest("Prometheus' own check accepts the alert rules", (t) => {
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'rules', join(EXAMPLES, 'alerts.yml')])
  t.is(status, 0, `${stdout}${stderr}`)
})

test('the Kubernetes manifest uses probes and options that exist', async (t) => {
  const text = readFileSync(join(EXAMPLES, 'kubernetes.yml'), 'utf8')
  const paths = Array.from(text.matchAll(/path: (\/\w+)/g), ([, path]) => path)
  t.deepEqual(paths, ['/startupz', '/readyz', '/livez'])
  const main = join(__dirname, '..', '..', '..', 'dist', 'lib', 'command', 'main.js')
  const help = String(spawnSync(process.execPath, [main, '--help']).stdout)
  const [, command = ''] = /command: \[(.*)\]/.exec(text) ?? []
  const options = command.match(/--[a-z-]+/g) ?? []
  t.true(options.length > 2)
  for (const option of options) t.true(help.includes(option), option)
})
