#!/bin/bash
# A prefork server in Python: one socket for master and workers, nothing forgotten when a
# worker is killed, and an answer when the one that answers is.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

case_begin python3
port=$(free_port)
server_start "$python" "$here/server_prefork.py" "$port"
server_ready "$port"
workers() {
	pgrep -P "$server_pid"
}
# One that has a connection, so a thread of its own for it, of three.
busy=
three_and_busy() {
	local pid

	[ "$(workers | wc -l)" = 3 ] || return 1
	for pid in $(workers); do
		busy=$pid
		grep -L weir- "/proc/$pid/task/"[0-9]*/comm | tail -n +2 | grep -q . && return
	done
	return 1
}

load_python lines load_lines.py --port "$port" --clients 8 --least 4000
metrics_during
load_end
# server_ready's own connection moves no byte.
metrics_bytes "$(load_figure lines received)" "$(load_figure lines sent)"
metrics_pid
# shellcheck disable=SC2046
metrics_once "$server_pid" $(workers)

# Workers are killed under load. Of what they moved, at most the call of each thread that
# was under way is not counted; what the clients may not have got is.
received=$(load_figure lines received)
sent=$(load_figure lines sent)
load_python kill load_kill.py --port "$port" --clients 6 --least 3000
for number in 1 2 3; do
	within 10 three_and_busy || fail "a worker was not replaced, or none is busy"
	if preloaded; then
		rm -rf "$tmp/scrape.1" "$tmp/scrape.2"
		scrape "$tmp/scrape.1"
	fi
	kill -KILL "$busy" || fail "no worker to kill"
	if preloaded; then
		scrape "$tmp/scrape.2"
		"$python" "$here/metrics.py" compare "$tmp/scrape.1" "$tmp/scrape.2" \
			>"$tmp/log/compare" 2>&1 ||
			fail "kill $number: $(tail -n 1 "$tmp/log/compare")"
	fi
done
load_end
[ "$(load_figure kill cut)" -gt 0 ] || fail "no worker was killed under load"
all_three_are_known() { # an answer may be a second old
	fetch /metrics.json "$tmp/killed"
	killed=$(grep -o '"state":"killed"' "$tmp/killed" | wc -l)
	[ "$killed" = 3 ]
}
if preloaded; then
	within 15 all_three_are_known || fail "3 workers were killed, $killed are said to be"
fi
open=$(load_figure kill open)
metrics_bytes "$((received + $(load_figure kill received) - open))" \
	"$((sent + $(load_figure kill sent) - open))" "$((2 * open))"

# The master serves, and all of them sleep. It is killed; a worker answers, and after a
# worker was awake the next one stands by.
members=$(workers | tr '\n' ' ')
metrics_takeover
kill -KILL "$server_pid" 2>/dev/null
wait "$server_pid"
if preloaded; then
	load_python after load_lines.py --port "$port" --clients 9 --least 900
	load_end
	# shellcheck disable=SC2086
	within 15 two_serve $members ||
		fail "after the takeover $(serving $members) metrics threads are left"
	metrics_takeover
fi
for pid in $members; do
	kill "$pid" 2>/dev/null
done
for pid in $members; do
	within 10 gone "$pid" || fail "worker $pid does not end"
done
# The last one knows that those who were killed do not come back.
within 15 no_sockets || fail "left in the socket's directory: $(ls -A "$tmp/m")"
pass "$(load_figure lines messages) replies of 11 lines to 8 clients compared," \
	"$(load_figure kill messages) while 3 workers were killed, two takeovers"
