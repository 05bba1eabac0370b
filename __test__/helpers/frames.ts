// Encodes frames as a worker sends them; see crates/core/PROTOCOL.md.

/** Returns a frame of this kind with `count` records. */
export function frame(kind: number, count: number, records: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(8)
  header.writeUInt32LE(records.length, 0)
  header.writeUInt8(kind, 4)
  header.writeUInt16LE(count, 6)
  return Buffer.concat([header, records])
}

export function hello(oldest = 1, newest = oldest): Buffer {
  return frame(1, 1, Buffer.concat([Buffer.from('SSRV'), u16(oldest), u16(newest), u32(process.pid), u32(0)]))
}

/** Returns an ACK of one connection. */
export function ack(id: number): Buffer {
  return frame(2, 1, Buffer.concat([u32(id), u32(0)]))
}

export function ended(leases: number): Buffer {
  return frame(4, 1, u32(leases))
}

/** Returns a CREDIT for all ports. */
export function credit(count: number): Buffer {
  return frame(5, 1, Buffer.concat([u32(count), u32(0)]))
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(value)
  return bytes
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
