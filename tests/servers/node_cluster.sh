#!/bin/bash
# A cluster of Node: the primary accepts and hands connections to its workers with
# SCM_RIGHTS over a channel of messages, and gets some back; a worker runs a program for
# each upload, whose pipes are socketpairs.  Workers are replaced under load.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

need node ab
case_begin node
port=$(free_port)
make_files "$tmp/www"
head -c 4194304 /dev/urandom >"$tmp/www/big"
server_start node "$here/server_cluster.js" "$port" "$tmp/www"
server_ready "$port"

load_python http load_http.py --port "$port" --root "$tmp/www" --clients 6 \
	--pipeline 8 --post --reconnect --least 150
# The workers are programs of their own; the primary has the channels.
metrics_during
load_end
metrics_pid
curl_hashes "http://127.0.0.1:$port/big" "$tmp/www/big"
ab_run 200 "http://127.0.0.1:$port/f9000"
for number in 1 2 3 4 5; do
	exec 5<>"/dev/tcp/127.0.0.1/$port"
	printf 'GET /back HTTP/1.1\r\nHost: localhost\r\n\r\n' >&5
	[ "$(timeout 10 cat <&5)" = "primary 5000" ] ||
		fail "a connection handed back is not answered"
	exec 5>&-
done

workers() {
	pgrep -P "$server_pid" | tr '\n' ' '
}
replaced() {
	local pid

	for pid in $before; do
		gone "$pid" || return 1
	done
	[ "$(pgrep -c -P "$server_pid")" = 2 ]
}
load_python reload load_http.py --port "$port" --root "$tmp/www" --clients 4 \
	--reconnect --least 150
for number in 1 2; do
	before=$(workers)
	kill -HUP "$server_pid" || fail "the server is gone"
	for _ in 1 2 3 4; do
		ab_run 50 "http://127.0.0.1:$port/f100"
	done
	# Another signal meanwhile would replace those that are about to go, too.
	within 30 replaced || fail "workers $before stay"
done
load_end

# Workers do not handle the signal, and each is a family with a socket.
stays=$(find "$tmp/m" -name 'node.sock.*' -printf '%f\n')
server_stop TERM 0
pass "$(load_figure http messages) exchanges of 6 clients compared," \
	"$(amount "$(load_figure http received)") out," \
	"$(amount "$(load_figure http sent)") through another program, 16 MiB by 4 curls," \
	"600 by ab, workers replaced twice under $(load_figure reload messages)"
