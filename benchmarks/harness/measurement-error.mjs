/** A measurement that failed: the server died, or answers were wrong, late or missing. It has no metrics. */
export class MeasurementError extends Error {}
