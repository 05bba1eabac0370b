import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { ask } from '../helpers/caller.js'
import { run } from '../helpers/program.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'

test('connections are accepted and handed off while the event loop of the parent is blocked', async (t) => {
  const unblock = join(temporaryDirectory(t), 'unblock')
  const parent = run(t, 'block-parent-until-file', { args: [unblock] })
  const port = Number(await parent.line())
  for (let i = 0; i < 10; i++) t.like(JSON.parse(await ask(port)), { localPort: port })
  t.is(parent.lines.length, 1, 'the parent was blocked throughout')
  writeFileSync(unblock, '')
  t.like(await parent.json(), { accepted: 10, handedOff: 10 })
  t.is(await parent.exit(), 0)
})
