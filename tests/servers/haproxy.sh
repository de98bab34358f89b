#!/bin/bash
# haproxy -W: the master re-executes itself on SIGUSR2 and hands the listeners on.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need haproxy ab
case_begin haproxy
port=$(free_port)
backend=$(free_port)
make_files "$tmp/www"
head -c 4194304 /dev/urandom >"$tmp/www/big"
cat >"$tmp/conf" <<END
global
	maxconn 256
	pidfile $tmp/pid
	hard-stop-after 20s
defaults
	mode http
	timeout connect 5s
	timeout client 20s
	timeout server 20s
frontend front
	bind 127.0.0.1:$port
	default_backend back
backend back
	server one 127.0.0.1:$backend
END
"$python" "$here/server_backend.py" "$backend" "$tmp/www" 2>"$tmp/log/backend" &
within 10 port_open "$backend" || fail "the backend does not start"
server_start haproxy -W -f "$tmp/conf"
server_ready "$port"

load_python http load_http.py --port "$port" --root "$tmp/www" --clients 6 --least 2000
metrics_during
load_end
# Master and worker share a socketpair, and the master's counts end when it
# re-executes itself, so what the clients saw is the floor.
metrics_bytes "$(load_figure http received)" "$(load_figure http sent)" 65536
curl_hashes "http://127.0.0.1:$port/big" "$tmp/www/big"
ab_run 1500 "http://127.0.0.1:$port/f1000" -k

workers() {
	pgrep -P "$server_pid" | tr '\n' ' '
}
replaced() {
	[ "$(workers)" != "$before" ] && [ -n "$(workers)" ] &&
		[ "$(pgrep -c -P "$server_pid")" = 1 ]
}
load_python reload load_http.py --port "$port" --root "$tmp/www" --clients 4 \
	--reconnect --least 500
for number in 1 2; do
	before=$(workers)
	kill -USR2 "$server_pid" || fail "the master is gone"
	within 15 replaced || fail "reload $number: workers $before, now $(workers)"
done
load_end
ab_run 500 "http://127.0.0.1:$port/f1000"

server_stop USR1 0
pass "$(load_figure http messages) files of 6 clients compared," \
	"$(amount "$(load_figure http received)"), 16 MiB by 4 curls, 2000 by ab," \
	"2 reloads under $(load_figure reload messages) requests"
