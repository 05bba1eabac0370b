/** Returns the descriptor of a `net.Server` or a `dgram.Socket`. Node has no documented way to it. */
export function handleNumber(owner: object): number {
  const handle: unknown = Reflect.get(owner, '_handle')
  if (typeof handle !== 'object' || handle === null) throw new Error('The object has no handle')
  return Number(Reflect.get(handle, 'fd'))
}
