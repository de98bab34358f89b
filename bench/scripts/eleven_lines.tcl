# An HTTP/1.1 server that answers in eleven lines, each put and flushed by itself.
# Usage: tclsh eleven_lines.tcl PORT
proc accept {channel host port} {
	fconfigure $channel -translation crlf -blocking 0
	fileevent $channel readable [list read_line $channel]
}

proc read_line {channel} {
	if {[gets $channel line] < 0} {
		if {[eof $channel]} {
			close $channel
		}
		return
	}
	if {$line eq ""} {
		answer $channel
	}
}

proc answer {channel} {
	foreach line {
		"HTTP/1.1 200 OK"
		"Server: tcl"
		"Content-Type: text/plain"
		"Cache-Control: no-store"
		"Accept-Ranges: none"
		"Vary: Accept"
		"X-Frame-Options: DENY"
		"Connection: keep-alive"
		"Content-Length: 15"
		""
		"Hello, world."
	} {
		puts $channel $line
		flush $channel
	}
}

socket -server accept -myaddr 127.0.0.1 [lindex $argv 0]
vwait forever
