/**
 * Simulates a queue in which each customer goes to the first free server without any delay: M/G/k if the arrivals are
 * Poisson. Returns each customer's time in the system, in the unit of the arguments. No real server is faster.
 *
 * @param {readonly number[]} arrivals ascending
 * @param {readonly number[]} services one for each arrival
 * @param {number} servers
 */
export function simulate(arrivals, services, servers) {
  const freeAt = new Array(servers).fill(0)
  return arrivals.map((arrival, index) => {
    const next = freeAt.indexOf(Math.min(...freeAt))
    const end = Math.max(arrival, freeAt[next]) + (services[index] ?? Number.NaN)
    freeAt[next] = end
    return end - arrival
  })
}
