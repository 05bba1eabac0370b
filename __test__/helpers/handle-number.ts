/** The number that Node keeps to itself, for what it gives no documented way to: a `net.Server`, a `dgram.Socket` ... */
export function handleNumber(owner: object): number {
  const handle: unknown = Reflect.get(owner, '_handle')
  if (typeof handle !== 'object' || handle === null) throw new Error('This has no handle')
  return Number(Reflect.get(handle, 'fd'))
}
