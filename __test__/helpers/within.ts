/** Settles like `promise`; rejects if it has not settled after `timeout` milliseconds, by default 60000. */
export async function within<T>(promise: Promise<T>, what: string, timeout = 60_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`Timed out after ${timeout} ms: ${what}`)), timeout)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
