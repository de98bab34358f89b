# A line server: one line asked, one line answered, in one write.
# Usage: tclsh one_line.tcl PORT
proc accept {channel host port} {
	fconfigure $channel -buffering line -blocking 0
	fileevent $channel readable [list answer $channel]
}

proc answer {channel} {
	if {[gets $channel line] >= 0} {
		puts $channel "you said $line"
	} elseif {[eof $channel]} {
		close $channel
	}
}

socket -server accept -myaddr 127.0.0.1 [lindex $argv 0]
vwait forever
