// Never gets ready.

console.error('there is no such luck')
process.exitCode = 7
