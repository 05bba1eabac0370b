import type { ProxiedClient } from '../../native.js'

/** What a proxy told about the client of a connection by the PROXY protocol. Only version 2 tells more than the addresses. */
export interface ProxyInfo {
  /** The version of the PROXY protocol. */
  version: 1 | 2
  /** The host name that the client asked for, for example by TLS SNI. */
  authority: string | undefined
  /** The application protocol that the proxy negotiated by TLS ALPN. */
  alpn: string | undefined
  /** The proxy's id of the connection, up to 128 bytes. */
  uniqueId: Buffer | undefined
  /** The TLS connection between client and proxy; undefined if the proxy told nothing of it. */
  ssl: ProxySsl | undefined
  /** The VPC endpoint of a client of AWS PrivateLink. */
  awsVpcEndpointId: string | undefined
  /** The link of a client of Azure Private Link. */
  azureLinkId: number | undefined
  /** The connection of a client of Google Private Service Connect. */
  googleConnectionId: bigint | undefined
  /** All values by their type; the first one of each type. */
  tlvs: ReadonlyMap<number, Buffer>
}

/** The TLS connection between a client and a proxy. */
export interface ProxySsl {
  /** Whether the client connected by TLS. */
  isTls: boolean
  /** Whether the client presented a certificate in this TLS session, on this connection or an earlier one. */
  hasCertificate: boolean
  /** Whether the proxy has verified the certificate. */
  isVerified: boolean
  /** The version of TLS, such as `TLSv1.3`. */
  version: string | undefined
  /** The common name of the client's certificate. */
  commonName: string | undefined
  /** The cipher, such as `TLS_AES_128_GCM_SHA256`. */
  cipher: string | undefined
  /** The algorithm that signed the certificate of the proxy, such as `SHA256`. */
  signatureAlgorithm: string | undefined
  /** The algorithm of the key of that certificate, such as `RSA2048`. */
  keyAlgorithm: string | undefined
  /** The group of the key exchange. */
  group: string | undefined
  /** The signature scheme. */
  signatureScheme: string | undefined
  /** The client's certificate in DER. */
  certificate: Buffer | undefined
}

/** Interprets what the parent has received from a proxy. The parent has checked that the TLVs are well-formed. */
export function proxyInfo({ version, tlvs: bytes }: ProxiedClient): ProxyInfo {
  const tlvs = parseTlvs(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  return {
    version: version === 1 ? 1 : 2,
    alpn: tlvs.get(ALPN)?.toString('latin1'),
    authority: tlvs.get(AUTHORITY)?.toString(),
    uniqueId: tlvs.get(UNIQUE_ID),
    ssl: parseSsl(tlvs.get(SSL)),
    awsVpcEndpointId: part(tlvs.get(AWS), 1)?.toString('latin1'),
    azureLinkId: exactly(4, part(tlvs.get(AZURE), 1))?.readUInt32LE(),
    googleConnectionId: exactly(8, tlvs.get(GOOGLE))?.readBigUInt64BE(),
    tlvs,
  }
}

function parseTlvs(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>()
  for (let at = 0; at + TLV_HEAD <= bytes.length; ) {
    const type = bytes.readUInt8(at)
    const end = at + TLV_HEAD + bytes.readUInt16BE(at + 1)
    if (!found.has(type)) found.set(type, bytes.subarray(at + TLV_HEAD, end))
    at = end
  }
  return found
}

function parseSsl(value: Buffer | undefined): ProxySsl | undefined {
  if (value === undefined || value.length < SSL_FIXED) return undefined
  const client = value.readUInt8(0)
  const parts = parseTlvs(value.subarray(SSL_FIXED))
  const text = (type: number): string | undefined => parts.get(type)?.toString()
  const hasCertificate = (client & (CERTIFICATE_ON_CONNECTION | CERTIFICATE_IN_SESSION)) !== 0
  return {
    isTls: (client & BY_TLS) !== 0,
    hasCertificate,
    isVerified: hasCertificate && value.readUInt32BE(1) === 0,
    version: text(0x21),
    commonName: text(0x22),
    cipher: text(0x23),
    signatureAlgorithm: text(0x24),
    keyAlgorithm: text(0x25),
    group: text(0x26),
    signatureScheme: text(0x27),
    certificate: parts.get(0x28),
  }
}

/** Returns the rest of a value whose first byte is `subtype`. */
function part(value: Buffer | undefined, subtype: number): Buffer | undefined {
  return value?.at(0) === subtype ? value.subarray(1) : undefined
}

function exactly(length: number, value: Buffer | undefined): Buffer | undefined {
  return value?.length === length ? value : undefined
}

const ALPN = 0x01
const AUTHORITY = 0x02
const UNIQUE_ID = 0x05
const SSL = 0x20
const GOOGLE = 0xe0
const AWS = 0xea
const AZURE = 0xee

/** The type and the length of a TLV. */
const TLV_HEAD = 3
/** The client flags and the result of the verification. */
const SSL_FIXED = 5

const BY_TLS = 1
const CERTIFICATE_ON_CONNECTION = 2
const CERTIFICATE_IN_SESSION = 4
