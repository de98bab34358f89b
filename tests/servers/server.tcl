# A line server as Tcl programs write them: each line of the reply leaves by itself.
# server.tcl PORT; the protocol is load_lines.py's, and "quit" ends the server.

proc accepted {chan host port} {
	fconfigure $chan -buffering line -translation lf -blocking 0
	fileevent $chan readable [list request $chan]
}

proc request {chan} {
	if {[gets $chan line] < 0} {
		if {[eof $chan]} {
			close $chan
		}
		return
	}
	if {$line eq "quit"} {
		close $chan
		exit 0
	}
	lassign $line verb seed length
	puts $chan "re $line"
	for {set number 0} {$number < $length} {incr number} {
		puts $chan "$number [expr {$seed * 7919 + $number * 104729}]"
	}
	puts $chan "end $seed"
}

socket -server accepted -myaddr 127.0.0.1 [lindex $argv 0]
vwait forever
