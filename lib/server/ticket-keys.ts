/** Returns new keys with which all workers of a server encrypt their TLS session tickets. */
export function newTicketKeys(): Buffer {
  // Not from `node:crypto`: that import loads OpenSSL's bindings, 6 MB, in every worker that loads this package.
  return Buffer.from(crypto.getRandomValues(new Uint8Array(TICKET_KEYS)))
}

/** The bytes that `tls.Server.setTicketKeys()` takes. */
const TICKET_KEYS = 48
