// Node's tests that fail through `serve()` and not without it, each with the reason why that is as it should be.

/** @type {Readonly<Record<string, string>>} */
export const EXCEPTIONS = {}
