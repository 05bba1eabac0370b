// All cases, in the order of a run.

import { cost } from './cost.mjs'
import { fairness } from './fairness.mjs'
import { http } from './http.mjs'
import { latency } from './latency.mjs'
import { routing } from './routing.mjs'
import { scale } from './scale.mjs'
import { stuck } from './stuck.mjs'
import { tails } from './tails.mjs'

export const cases = [cost, latency, tails, stuck, fairness, scale, http, routing]
