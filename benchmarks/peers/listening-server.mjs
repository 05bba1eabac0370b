// The server of a peer in which a worker listens by itself, or believes that it does.

import http from 'node:http'
import net from 'node:net'
import { behaviours, inTurn } from './behaviours.mjs'

/** What every peer lets the kernel queue: Node's default. */
export const BACKLOG = 511

/**
 * A server that does what the settings say, not listening yet.
 *
 * @param {import('./settings.mjs').PeerSettings} settings
 */
export function createListeningServer({ behaviour, oneAtATime = false }) {
  if (behaviour === 'http') return http.createServer(behaviours.http)
  if (behaviour === 'service' && oneAtATime) return net.createServer(inTurn(behaviours.service))
  return net.createServer(behaviours[behaviour])
}
