#!/bin/bash
# Python's socketserver: a thread for each connection, eleven unbuffered writes a reply.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

case_begin python3
port=$(free_port)
server_start "$python" "$here/server_lines.py" "$port"
server_ready "$port"

load_python lines load_lines.py --port "$port" --clients 8 --least 4000
metrics_during
load_end
metrics_bytes "$(load_figure lines received)" "$(load_figure lines sent)"
metrics_pid

server_stop TERM 0
pass "$(load_figure lines messages) replies of 11 lines to 8 clients compared," \
	"$(amount "$(load_figure lines received)")"
