// This machine's name as napi and npm write it (`linux-x64-gnu`, `darwin-arm64`): the commands that pack, or that
// install other versions of Node, need it.

/** @returns {string} */
export function platform() {
  const { platform, arch } = process
  return platform === 'linux' ? `${platform}-${arch}-${musl() ? 'musl' : 'gnu'}` : `${platform}-${arch}`
}

function musl() {
  // A glibc system reports its version; musl has none to report.
  const report = process.report.getReport()
  const header = typeof report === 'object' && 'header' in report ? report.header : undefined
  return !(typeof header === 'object' && header !== null && 'glibcVersionRuntime' in header)
}
