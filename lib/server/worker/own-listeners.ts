import { readdir, readFile, readlink } from 'node:fs/promises'

/**
 * Returns the addresses at which a process listens itself: `port 3000`, or a path. Returns an empty list on macOS, which has no
 * proc(5), and for threads, which have no separate sockets.
 */
export async function listenersOf(pid: number | undefined): Promise<string[]> {
  if (pid === undefined || process.platform !== 'linux') return []
  try {
    const inodes = await socketsOf(pid)
    const tables = ['tcp', 'tcp6', 'unix'].map((table) =>
      readFile(`/proc/${pid}/net/${table}`, 'latin1').catch(() => ''),
    )
    const [tcp = '', tcp6 = '', unix = ''] = await Promise.all(tables)
    return [...new Set([...tcpListeners(tcp, inodes), ...tcpListeners(tcp6, inodes), ...unixListeners(unix, inodes)])]
  } catch {
    // The process has exited or belongs to another user.
    return []
  }
}

async function socketsOf(pid: number): Promise<Set<string>> {
  const folder = `/proc/${pid}/fd`
  const links = (await readdir(folder)).map((fd) => readlink(`${folder}/${fd}`).catch(() => ''))
  const inodes = (await Promise.all(links)).map((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1])
  return new Set(inodes.filter((inode) => inode !== undefined))
}

/** Reads `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...`. */
function tcpListeners(table: string, inodes: ReadonlySet<string>): string[] {
  return rows(table).flatMap(([, local = '', , state, , , , , , inode = '']) =>
    state === TCP_LISTEN && inodes.has(inode) ? [`port ${Number.parseInt(local.split(':')[1] ?? '', 16)}`] : [],
  )
}

/** Reads `Num RefCount Protocol Flags Type St Inode Path`. */
function unixListeners(table: string, inodes: ReadonlySet<string>): string[] {
  return rows(table).flatMap(([, , , flags, , , inode = '', path = 'a Unix socket']) =>
    flags === SO_ACCEPTCON && inodes.has(inode) ? [path] : [],
  )
}

function rows(table: string): string[][] {
  return table.split('\n').map((line) => line.trim().split(/\s+/))
}

const TCP_LISTEN = '0A'
const SO_ACCEPTCON = '00010000'
