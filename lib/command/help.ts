export const HELP = `Usage: socketserver <command>        one app on all cores; docs/command.md has all of it

  run [options] <app> [args...]   run a Node program that listens, in the foreground
  status [name] [--json]          its workers         reload [name]   new code, nothing lost
  scale <n|+n|-n> [name]          more or fewer       stop [name]     drain, then end
  top [name]                      drawn each second   logs [name] [-f]

Options of run:
  -w, --workers <n|max>        workers; default WEB_CONCURRENCY, else max (one per CPU)
  -p, --port <n>               PORT of the app
      --bind <address>         listen before any worker is there: 8080, host:port,
                               unix:/path, fd:3; repeatable
      --threads                worker threads instead of processes
      --ready <when>           a worker is ready when it listens: listen; has called
                               process.send('ready'): message; at once: start
      --policy <name>          least-busy, round-robin or first
      --sticky <key>           the same worker again: address, sni, cookie:NAME,
                               header:NAME or query:NAME; address:strict waits
      --proxy-protocol <from>  proxies that send the client's address: 10.0.0.0/8,::1
                               or unix; separated by commas
      --max-per-source <n>     connections of one client at a time
      --max-queue <n>          connections that may wait     --queue-timeout <ms>
      --ready-timeout <ms>     --drain-timeout <ms>          --kill-timeout <ms>
      --admin <[host:]port>    page, metrics and probes by HTTP; or unix:/path
      --drain-delay <ms>       accept after SIGTERM, while /readyz fails
      --keep-trying            retry although the first start has failed
      --max-memory <size>      replace a worker above it, e.g. 300M
      --max-connections <n>    replace a worker that has taken so many
      --watch[=<paths>]        reload when a file changes
      --log-prefix             each line of output carries its slot; needed for logs
      --env-file <file>        repeatable; read again at each reload
      --cwd <folder>           --node-arg <arg>              --pid-file <file>
      --name <name>            default: the file's name      --control <path>
      --env <name>  --only <app>   for PM2's ecosystem.config.js

<app> may be a config file: socketserver.config.{js,mjs,json}, ecosystem.config.js.
Signals: TERM, INT drain and end (twice: now); HUP reload; TTIN, TTOU workers +1, -1.
Exit codes: 0 done; 1 failed, or cut connections; 2 mistake in arguments; 3 not running.
`
