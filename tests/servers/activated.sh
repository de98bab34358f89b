#!/bin/bash
# The same server started by a service manager that listens for it (sd_listen_fds(3)): the workers that
# accept are one family with the master, although nobody in it has called listen().
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

need systemd-socket-activate
case_begin python3
port=$(free_port)
preload=()
if preloaded; then
	preload=(-E "LD_PRELOAD=$WEIR_LIB" -E "STREAM_METRICS_SOCKET=$metrics_socket")
fi
setsid systemd-socket-activate -l "127.0.0.1:$port" "${preload[@]}" \
	"$python" "$here/server_prefork.py" "$port" </dev/null >"$tmp/log/server.out" 2>"$tmp/log/server.err" &
server_pid=$!
server_ready "$port"

load_python lines load_lines.py --port "$port" --clients 8 --least 4000
metrics_during
load_end
metrics_bytes "$(load_figure lines received)" "$(load_figure lines sent)"
metrics_pid
# shellcheck disable=SC2046
metrics_once "$server_pid" $(pgrep -P "$server_pid")
server_stop TERM 0
pass "$(load_figure lines messages) replies of 11 lines to 8 clients compared," \
	"$(amount "$(load_figure lines received)")"
