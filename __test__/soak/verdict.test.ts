// The verdict of the soak on lost requests.

import test from 'ava'
import type { Asked } from './clients.js'
import { judge, type Kill } from './verdict.js'

const ok: Asked = { kind: 'any', outcome: 'ok', begun: 1000, ended: 1010, port: 1 }
const kill: Kill = { worker: 'p1', from: 2000, until: 2005, ports: new Set([1, 2]), isLastOver: false, cut: 2 }

test('a request is lost with the killed worker that held its connection, and an idle connection loses none', (t) => {
  const reset: Asked = { ...ok, outcome: 'reset', begun: 1990, ended: 2004, port: 2 }
  t.deepEqual(judge([ok, reset], [kill]), {
    requests: 2,
    kills: 1,
    held: 2,
    lost: 1,
    elsewhere: {},
    elsewhereAtKills: 0,
    miscounted: [],
    unknown: 0,
  })
})

test('a request on another connection or at another time must not be lost', (t) => {
  const other: Asked = { ...ok, outcome: 'empty', begun: 1990, ended: 2004, port: 3 }
  const earlier: Asked = { ...ok, outcome: 'reset', begun: 1000, ended: 1990, port: 2 }
  const refused: Asked = { ...ok, outcome: 'refused', begun: 2001, ended: 2001, port: undefined }
  const known: Asked = { ...ok, port: 2 }
  const verdict = judge([ok, known, other, earlier, refused], [{ ...kill, cut: 2 }])
  t.like(verdict, { lost: 0, elsewhere: { empty: 1, reset: 1, refused: 1 }, elsewhereAtKills: 2 })
})

test('a connection that a worker took but did not note is counted by the parent', (t) => {
  const empty: Asked = { ...ok, outcome: 'empty', begun: 1990, ended: 2004, port: 3 }
  const known: Asked = { ...ok, port: 2 }
  t.like(judge([ok, known, empty], [{ ...kill, cut: 3 }]), { held: 3, lost: 1, elsewhere: {}, miscounted: [] })
  t.like(judge([ok, known], [{ ...kill, cut: 3 }]), { miscounted: ['p1 held 2, and 3 were reported'] })
  t.like(judge([ok, known], [{ ...kill, cut: 3, isLastOver: true }]), { miscounted: [] })
  t.like(judge([ok, known], [{ ...kill, cut: 1, isLastOver: true }]), {
    miscounted: ['p1 held 2, and 1 were reported'],
  })
})

test('a held connection without a client is reported', (t) => {
  t.like(judge([ok], [kill]), { held: 2, unknown: 1 })
  t.like(judge([ok, { ...ok, port: 2, begun: 3000, ended: 3001 }], [kill]), { unknown: 1 })
})
