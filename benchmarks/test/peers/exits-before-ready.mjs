// Exits before it is ready.

console.error('cannot start')
process.exitCode = 7
