# flightaware/socketservertcl: a thread of the parent accepts, and all children read from the same socket.
#
# SOCKETSERVERTCL names the folders of its pkgIndex.tcl and of Tclx's, separated by a colon. Its `client` command takes one
# connection, so a child has one connection at a time. The server listens on all addresses.

foreach folder [split $env(SOCKETSERVERTCL) :] { lappend auto_path $folder }
package require Tclx
package require socketserver

set port [lindex $argv 0]
set workers [lindex $argv 1]

proc answer {socket} {
    if {[gets $socket line] >= 0} { puts $socket "[pid] $line" }
    close $socket
    ::socketserver::socket client -port $::port accepted
}

proc accepted {socket address port} {
    fconfigure $socket -buffering line -blocking 1 -translation lf
    fileevent $socket readable [list answer $socket]
}

::socketserver::socket server $port

# Children of Tclx's fork survive their parent, so `stop` kills them.
set children {}
for {set index 0} {$index < $workers} {incr index} {
    set child [fork]
    if {$child == 0} {
        ::socketserver::socket client -port $port accepted
        vwait forever
    }
    lappend children $child
}

proc stop {} {
    foreach child $::children { kill $child }
    exit
}
signal trap {SIGTERM} stop
fileevent stdin readable { if {[gets stdin] < 0 && [eof stdin]} stop }
puts "{\"port\":$port}"
flush stdout
vwait forever
