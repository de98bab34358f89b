#!/bin/bash
# mosquitto: one process, one thread, poll or epoll, a queue of packets per client.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need mosquitto mosquitto_pub mosquitto_sub
case_begin mosquitto
port=$(free_port)
cat >"$tmp/conf" <<END
listener $port 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
log_dest stderr
log_type error
log_type warning
END
server_start mosquitto -c "$tmp/conf"
server_ready "$port"

load_python mqtt load_mqtt.py --port "$port" --clients 8 --least 20000
metrics_during
load_end
metrics_bytes "$(load_figure mqtt received)" "$(load_figure mqtt sent)"
metrics_pid

# Debian's own clients: every line arrives at every subscriber, in order.
seq -f 'line %g of a message that is not long' 5000 >"$tmp/lines"
for number in 1 2 3; do
	load_start "sub$number" mosquitto_sub -p "$port" -t lines -q 1 -C 5000 -W 20
done
subscribed() {
	local number

	for number in 1 2 3; do
		mosquitto_pub -p "$port" -t lines -q 1 -m probe
		grep -q probe "$tmp/log/sub$number.out" || return 1
	done
}
# A subscriber tells of its subscription only by what it receives: the probes count
# among its 5000, so some of the last lines are missing and no more.
within 10 subscribed || fail "mosquitto_sub receives nothing"
mosquitto_pub -p "$port" -t lines -q 1 -l <"$tmp/lines" || fail "mosquitto_pub failed"
load_end
for number in 1 2 3; do
	grep -v probe "$tmp/log/sub$number.out" >"$tmp/got"
	count=$(wc -l <"$tmp/got")
	[ "$count" -ge 4900 ] || fail "mosquitto_sub $number got $count lines"
	head -n "$count" "$tmp/lines" | cmp -s - "$tmp/got" ||
		fail "mosquitto_sub $number got other lines"
done

server_stop TERM 0
pass "$(load_figure mqtt messages) messages of 8 clients in order," \
	"$(amount "$(load_figure mqtt received)") received, 5000 lines to 3 mosquitto_sub"
