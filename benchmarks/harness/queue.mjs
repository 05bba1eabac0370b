// The queue that no real server can beat: every customer goes to the first server that is free, and finding it takes no
// time (M/G/k, where arrivals are Poisson).

/**
 * How long each customer is in the system, in the unit of what is given.
 *
 * @param {readonly number[]} arrivals ascending
 * @param {readonly number[]} services one for each arrival
 * @param {number} servers
 */
export function simulate(arrivals, services, servers) {
  const freeAt = new Array(servers).fill(0)
  return arrivals.map((arrival, index) => {
    let next = 0
    for (let server = 1; server < servers; server++) if (freeAt[server] < freeAt[next]) next = server
    const end = Math.max(arrival, freeAt[next]) + (services[index] ?? Number.NaN)
    freeAt[next] = end
    return end - arrival
  })
}
