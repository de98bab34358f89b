#!/bin/bash
# Debian's Prometheus scrapes a prefork server through socat, while the process that answers
# is killed, and so is the next: its rules give what the JSON says, and no series falls.
# Functions are called by name, through within.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

case_begin python3
preloaded || skip "it is about the metrics"
need prometheus socat curl pgrep
prometheus() {
	"$python" "$here/prometheus.py" "$@" >"$tmp/log/verdict" 2>&1 ||
		fail "prometheus: $(tail -n 1 "$tmp/log/verdict")"
}
# The master's session has all of them, also after its death.
members() {
	local pid

	for pid in $(pgrep -s "$server_pid"); do
		! alive "$pid" || echo "$pid"
	done
}
seats_taken() {
	# shellcheck disable=SC2046
	two_serve $(members)
}
nobody() {
	[ -z "$(members)" ]
}

port=$(free_port)
server_start "$python" "$here/server_prefork.py" "$port"
server_ready "$port"
load_python lines load_lines.py --port "$port" --clients 9 --least 2000
load_end

bridge=$(free_port)
socat "TCP-LISTEN:$bridge,bind=127.0.0.1,reuseaddr,fork" "UNIX-CONNECT:$metrics_socket" \
	2>"$tmp/log/socat" &
web=$(free_port)
prometheus configure "$tmp" "$bridge"
command prometheus --config.file="$tmp/prometheus.yml" --storage.tsdb.path="$tmp/tsdb" \
	--web.listen-address="127.0.0.1:$web" >"$tmp/log/prometheus" 2>&1 &
prometheus_pid=$!
within 15 port_open "$bridge" || fail "socat does not listen"
within 15 port_open "$web" || fail "prometheus does not listen"
prometheus quiet "$web" "$metrics_socket" "$tmp/before"

# The master serves first; a worker that has connections next.  Sending and receiving are
# blocked in others, and in that one.
load_python stall load_stall.py --port "$port" --clients 6
load_python kill load_kill.py --port "$port" --clients 9 --least 3000
for number in 1 2; do
	prometheus growing "$web"
	within 15 seats_taken || fail "kill $number: nobody stands by"
	metrics_takeover
done
prometheus growing "$web"
load_end
[ "$(load_figure kill cut)" -gt 0 ] || fail "no worker was killed under load"
prometheus quiet "$web" "$metrics_socket" "$tmp/after"
prometheus compare "$web" "$tmp/before" "$tmp/after" "$number"
verdict=$(tail -n 1 "$tmp/log/verdict")
if grep -E 'level=(warn|error)' "$tmp/log/prometheus"; then
	fail "prometheus complains: $(grep -Em1 'level=(warn|error)' "$tmp/log/prometheus")"
fi

kill "$prometheus_pid"
within 10 gone "$prometheus_pid" || fail "prometheus does not end"
pkill -s "$server_pid"
within 10 nobody || fail "not all of the server ended"
within 15 no_sockets || fail "left in the socket's directory: $(ls -A "$tmp/m")"
pass "$verdict; $(load_figure kill messages) replies beside, $(load_figure stall whole) of 6" \
	"stalled clients not cut"
