#!/bin/bash
# redis: one thread serves, BGSAVE forks while it does.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

need redis-server redis-cli redis-benchmark
case_begin redis-server
port=$(free_port)
cat >"$tmp/conf" <<END
port $port
bind 127.0.0.1
dir $tmp/log
save ""
appendonly no
daemonize no
END
server_start redis-server "$tmp/conf"
server_ready "$port"

load_python kv load_kv.py --speak redis --port "$port" --clients 6 --least 20000
metrics_during
load_end
metrics_bytes "$(load_figure kv received)" "$(load_figure kv sent)"
metrics_pid

# BGSAVE under load; what it saved must hold what was stored.
cli() {
	redis-cli -p "$port" "$@"
}
saved() {
	cli info persistence | tr -d '\r' >"$tmp/persistence" &&
		grep -qx rdb_bgsave_in_progress:0 "$tmp/persistence"
}
load_python save load_kv.py --speak redis --port "$port" --clients 4 --least 5000
for number in 1 2; do
	cli bgsave >/dev/null || fail "BGSAVE $number refused"
	within 15 saved || fail "BGSAVE $number does not end"
	grep -qx rdb_last_bgsave_status:ok "$tmp/persistence" ||
		fail "BGSAVE $number failed"
done
load_end
redis-check-rdb "$tmp/log/dump.rdb" >"$tmp/log/rdb" || fail "the dump is damaged"
rm "$tmp/log/dump.rdb"

redis-benchmark -p "$port" -q -n 20000 -c 16 -P 16 -t set,get >"$tmp/log/benchmark" ||
	fail "redis-benchmark failed"
redis-benchmark -p "$port" -q -n 5000 -c 8 -t lpush,lrange_300 >>"$tmp/log/benchmark" ||
	fail "redis-benchmark failed"
head -c 4194304 /dev/urandom | base64 -w 0 >"$tmp/value"
cli -x set big <"$tmp/value" >/dev/null || fail "cannot store 5 MiB"
for number in 1 2 3 4; do
	load_start "get$number" redis-cli -p "$port" get big
done
load_end
for number in 1 2 3 4; do
	head -c -1 "$tmp/log/get$number.out" | cmp -s - "$tmp/value" ||
		fail "redis-cli $number got another value"
	rm "$tmp/log/get$number.out"
done

server_stop TERM 0
pass "$(load_figure kv messages) commands of 6 clients compared," \
	"$(amount "$(load_figure kv received)"), 2 BGSAVE under" \
	"$(load_figure save messages) more, 50000 by redis-benchmark," \
	"21 MiB by 4 redis-cli"
