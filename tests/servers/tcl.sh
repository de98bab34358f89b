#!/bin/bash
# A Tcl server whose reply leaves in eleven writes, without TCP_NODELAY.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

need tclsh
case_begin tclsh
port=$(free_port)
server_start tclsh "$here/server.tcl" "$port"
server_ready "$port"

load_python lines load_lines.py --port "$port" --clients 8 --least 4000
metrics_during
load_end
metrics_bytes "$(load_figure lines received)" "$(load_figure lines sent)"
metrics_pid

# Tcl has no signal handlers: the server ends by its own command.
exec 5<>"/dev/tcp/127.0.0.1/$port"
echo quit >&5
server_ended 0 "on quit"
exec 5>&-
pass "$(load_figure lines messages) replies of 11 lines to 8 clients compared," \
	"$(amount "$(load_figure lines received)")"
