#!/bin/bash
# The same server as a daemon: the process that listens, and its child, end at once.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

case_begin python3
port=$(free_port)
server_start "$python" "$here/server_prefork.py" "$port" "$tmp/log/pid"
first=$server_pid
within 10 test -s "$tmp/log/pid" || fail "no daemon"
within 10 gone "$first" || fail "the first process does not end"
wait "$first" || fail "the first process ended with $?"
server_pid=$(cat "$tmp/log/pid")
server_ready "$port"

load_python lines load_lines.py --port "$port" --clients 8 --least 4000
metrics_during
load_end
metrics_bytes "$(load_figure lines received)" "$(load_figure lines sent)"
# shellcheck disable=SC2046
metrics_once "$server_pid" $(pgrep -P "$server_pid")

kill -TERM "$server_pid" || fail "the daemon is gone before its SIGTERM"
within 15 gone "$server_pid" || fail "the daemon does not end"
within 15 no_sockets || fail "left in the socket's directory: $(ls -A "$tmp/m")"
pass "$(load_figure lines messages) replies of 11 lines to 8 clients compared," \
	"$(amount "$(load_figure lines received)")"
