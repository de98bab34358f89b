#!/bin/bash
# puma in cluster mode: workers are forked and talk to the master by pipes, a reactor hands
# connections to threads; it restarts by phases, and by an exec that inherits the
# listening socket, under load. Now and then a new worker misses the SIGTERM of the second restart, natively
# too: then the master kills it.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

need puma ruby ab
case_begin ruby
# An exec leaves its program's socket behind, and the new one is called ruby3.1.
stays=ruby.sock
port=$(free_port)
make_files "$tmp/www"
head -c 4194304 /dev/urandom >"$tmp/www/big"
cat >"$tmp/conf.rb" <<END
bind 'tcp://127.0.0.1:$port'
workers 2
threads 4, 4
rackup '$here/server_puma.ru'
environment 'production'
worker_boot_timeout 20
worker_shutdown_timeout 5
END
server_start env WWW="$tmp/www" puma -C "$tmp/conf.rb"
server_ready "$port"

load_python http load_http.py --port "$port" --root "$tmp/www" --clients 6 \
	--pipeline 4 --post --reconnect --least 500
metrics_during
load_end
curl_hashes "http://127.0.0.1:$port/big" "$tmp/www/big"
ab_run 1000 "http://127.0.0.1:$port/f1000" -k

workers() {
	pgrep -P "$server_pid" | tr '\n' ' '
}
replaced() {
	local pid

	for pid in $before; do
		gone "$pid" || return 1
	done
	[ "$(pgrep -c -P "$server_pid")" = 2 ] && port_open "$port"
}
load_python restarts load_http.py --port "$port" --root "$tmp/www" --clients 4 \
	--reconnect --patient --least 200
for signal in USR1 USR2; do
	before=$(workers)
	kill -s "$signal" "$server_pid" || fail "the server is gone"
	within 25 replaced || fail "SIG$signal: workers $before stay"
done
load_end

server_stop INT 0
pass "$(load_figure http messages) exchanges of 6 clients compared," \
	"$(amount "$(load_figure http received)") out, 16 MiB by 4 curls, 1000 by ab," \
	"a phased and a hot restart under $(load_figure restarts messages) requests"
