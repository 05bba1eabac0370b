// Why there is no number.

/** A measurement that failed: something was answered wrongly, too seldom or not at all, so it has no number. */
export class Unmeasured extends Error {}
