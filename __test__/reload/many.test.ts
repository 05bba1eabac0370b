import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { ask } from '../helpers/caller.js'
import { linuxSerial } from '../helpers/conditional-test.js'
import { childrenOf, descriptors, residentKilobytes, threads } from '../helpers/processes.js'
import { serve, startThreads } from '../helpers/served.js'
import { until } from '../helpers/until.js'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

// 500 reloads take a while: SOCKETSERVER_TEST_RELOADS=500 npm test -- reload/many
const RELOADS = Number(process.env['SOCKETSERVER_TEST_RELOADS'] ?? 12)

for (const [kind, start, mebibytes] of [
  ['processes', serve, 8],
  // 1000 plain `new Worker` grew a process by 7 MiB (Node 20), these threads by -2 to 4.
  ['threads', startThreads, 16],
] as const) {
  linuxSerial(
    `${RELOADS} reloads of ${kind} leak no descriptors, processes, threads or memory of the parent`,
    async (t) => {
      t.timeout(60_000 + RELOADS * 2000)
      const { pool, port } = await start(t, 'answer-tokens', { workers: 2 })
      const look = (): number[] => [descriptors(), childrenOf().length, threads()]
      const reload = async (times: number): Promise<void> => {
        for (let i = 0; i < times; i++) {
          await pool.reload()
          t.regex(await ask(port, 'token\n'), /token/)
        }
        collectGarbage()
      }
      // The first reloads fill pools and caches that stay.
      await reload(Math.max(3, Math.floor(RELOADS / 10)))
      const [before, memory] = [look(), residentKilobytes()]
      await reload(RELOADS)
      await until(() => look().every((count, index) => count <= (before[index] ?? 0)))
      const grown = (residentKilobytes() - memory) / 1024
      t.log(`${grown.toFixed(1)} MiB more resident memory`)
      t.true(grown < mebibytes, `${grown} MiB`)
      t.is(pool.workers[0]?.generation, 1 + RELOADS + Math.max(3, Math.floor(RELOADS / 10)))
    },
  )
}
