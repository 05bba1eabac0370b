import { type Dirent, type FSWatcher, readdirSync, statSync, watch } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'

export interface WatchSetup {
  /** Files and folders, absolute. */
  paths: readonly string[]
  /** Names, and paths relative to `root`, that are not watched. */
  ignored: readonly string[]
  root: string
  /** Called once after one or more changes, when no further change has occurred for `QUIET_TIME`. */
  changed: (path: string) => void
  failed: (error: Error) => void
}

/**
 * Watches files and folders recursively. Each folder has its own watcher, because Node's recursive watching on Linux also visits
 * node_modules and has no option to exclude it.
 */
export class FolderWatcher {
  readonly #setup: WatchSetup
  readonly #watchers = new Map<string, FSWatcher>()
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined

  constructor(setup: WatchSetup) {
    this.#setup = setup
    for (const path of setup.paths) {
      if (statSync(path).isDirectory()) this.#watchFolder(path)
      // Editors replace files, so the watcher watches the folder of the file.
      else this.#watch(dirname(path), (name) => name === basename(path))
    }
  }

  /** The number of folders that are watched. */
  get folders(): number {
    return this.#watchers.size
  }

  close(): void {
    this.#stopTimers()
    for (const watcher of this.#watchers.values()) watcher.close()
    this.#watchers.clear()
  }

  #watchFolder(folder: string): void {
    if (this.#watchers.has(folder)) return
    this.#watch(folder, (name) => !this.#isIgnored(join(folder, name)))
    for (const entry of entriesOf(folder)) {
      const path = join(folder, entry.name)
      if (entry.isDirectory() && !this.#isIgnored(path)) this.#watchFolder(path)
    }
  }

  #watch(folder: string, isRelevant: (name: string) => boolean): void {
    try {
      const watcher = watch(folder, (_event, name) => {
        if (name === null || !isRelevant(name)) return
        this.#note(join(folder, name))
      })
      watcher.on('error', () => this.#forget(folder))
      this.#watchers.set(folder, watcher)
    } catch (error) {
      // ENOSPC: fs.inotify.max_user_watches is reached. ENOENT: the folder has been removed.
      if (error instanceof Error) this.#setup.failed(error)
    }
  }

  #note(path: string): void {
    const stats = statSync(path, { throwIfNoEntry: false })
    if (stats === undefined) this.#forget(path)
    else if (stats.isDirectory()) this.#watchFolder(path)
    this.#stopTimers()
    // After a pause of this process, a due timer runs before the watcher reads the missed changes. An immediate runs after them.
    this.#timer = setTimeout(() => {
      this.#immediate = setImmediate(() => this.#setup.changed(path))
    }, QUIET_TIME)
    this.#timer.unref()
  }

  #stopTimers(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
  }

  #forget(folder: string): void {
    this.#watchers.get(folder)?.close()
    this.#watchers.delete(folder)
  }

  /** Returns whether to ignore changes of a path: hidden files, packages, logs, and paths that the user has excluded. */
  #isIgnored(path: string): boolean {
    const name = basename(path)
    if (name.startsWith('.') || IGNORED.test(name)) return true
    const { root, ignored } = this.#setup
    const below = relative(root, path)
    return ignored.some((item) => item === name || item === path || below === item || below.startsWith(`${item}/`))
  }
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch {
    // The folder has been removed, or this user may not read it.
    return []
  }
}

/** Installed packages, and files that apps and editors write while they run. */
const IGNORED = /^node_modules$|\.(log|pid|sock|swp|tmp)$|~$/

/** Milliseconds without a change before a reload, because a build or a checkout writes many files. */
const QUIET_TIME = 200
