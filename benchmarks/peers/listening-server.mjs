// The server of a peer whose workers call `listen()` themselves.

import http from 'node:http'
import net from 'node:net'
import { behaviours, oneByOne } from './behaviours.mjs'

/** The listen backlog of every peer: Node's default. */
export const BACKLOG = 511

/**
 * Returns a server for these settings. It does not listen yet.
 *
 * @param {import('./settings.mjs').PeerSettings} settings
 */
export function createListeningServer({ behaviour, oneAtATime = false }) {
  if (behaviour === 'http') return http.createServer(behaviours.http)
  if (behaviour === 'service' && oneAtATime) return net.createServer(oneByOne(behaviours.service))
  return net.createServer(behaviours[behaviour])
}
