// A short version of `npm run soak`: reloads, resizes and kills without pause while 26 clients send requests.

import { loadSerial } from '../helpers/conditional-test.js'
import { soak } from './run.js'

const SCALE = Number(process.env['SOCKETSERVER_TEST_SOAK'] ?? 0.1)

for (const way of ['processes', 'threads'] as const) {
  loadSerial(
    `reloading, resizing and killing ${way} loses exactly the requests on connections of killed workers`,
    async (t) => {
      t.timeout(60_000 + SCALE * 600_000)
      const soaked = await soak(t, { way, scale: SCALE, withKills: true })
      const { requests, reloads, resizes, kills, held, lost, elsewhere, miscounted, unknown } = soaked
      t.log(`${requests} requests, ${reloads} reloads, ${resizes} resizes, ${kills} kills: ${held} held, ${lost} lost`)
      t.deepEqual({ elsewhere, miscounted, unknown }, { elsewhere: {}, miscounted: [], unknown: 0 })
      t.true(requests >= SCALE * 32_600)
      t.true(reloads > 0 && resizes > 0 && kills > 0)
      t.true(lost <= held)
    },
  )
}
