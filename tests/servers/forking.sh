#!/bin/bash
# Python's socketserver that forks for each connection: the child has the connection for itself
# once its parent has closed it, so its eleven unbuffered writes a reply are held.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091,SC2317
. "$(dirname "$0")/lib.sh"

case_begin python3
port=$(free_port)
server_start "$python" "$here/server_forking.py" "$port"
server_ready "$port"

load_python lines load_lines.py --port "$port" --clients 8 --least 4000
metrics_during
load_end
metrics_bytes "$(load_figure lines received)" "$(load_figure lines sent)"
metrics_pid

# Short lives one after another.
for _ in {1..40}; do
	load_python short load_lines.py --port "$port" --clients 1 --least 32
	load_end
done

# family NAME: the sum of its samples
family() {
	awk -v name="$1" 'index($1, name "{") == 1 || $1 == name { sum += $2 }
		END { printf "%d\n", sum }' "$tmp/metrics"
}
all_closed() { # an answer may be a second old
	fetch /metrics "$tmp/metrics"
	[ "$(family weir_streams_opened_total)" = "$(family weir_streams_closed_total)" ]
}
kernel=all
if preloaded; then
	within 10 all_closed ||
		fail "$(family weir_streams_opened_total) connections," \
			"$(family weir_streams_closed_total) closed"
	app=$(family weir_app_writes_total)
	kernel=$(family weir_kernel_writes_total)
	[ "$((kernel * 5))" -lt "$app" ] || fail "$app writes were $kernel of the kernel's"
fi

server_stop TERM 0
pass "$(load_figure lines messages) replies of 11 lines to 8 clients compared," \
	"$(amount "$(load_figure lines received)"), $kernel of ${app:-its} writes reached the kernel"
