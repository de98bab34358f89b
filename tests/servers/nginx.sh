#!/bin/bash
# nginx with two workers: sendfile and buffered replies, and reloads under load.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need nginx ab
need_root
case_begin nginx
port=$(free_port)
make_files "$tmp/www"
head -c 4194304 /dev/urandom >"$tmp/big"
cat >"$tmp/conf" <<END
daemon off;
worker_processes 2;
user www-data;
pid $tmp/pid;
error_log $tmp/log/error warn;
events { worker_connections 512; }
http {
	access_log off;
	keepalive_requests 1000000;
	client_body_temp_path $tmp/t1; proxy_temp_path $tmp/t2;
	fastcgi_temp_path $tmp/t3; uwsgi_temp_path $tmp/t4; scgi_temp_path $tmp/t5;
	server {
		listen 127.0.0.1:$port;
		root $tmp/www;
		sendfile on;
		location = /big { root $tmp; sendfile off; output_buffers 4 8k; }
		location = /f9000 { sendfile off; output_buffers 2 1k; }
	}
}
END
server_start nginx -e "$tmp/log/error" -c "$tmp/conf"
server_ready "$port"

load_python http load_http.py --port "$port" --root "$tmp/www" --clients 8 \
	--pipeline 4 --least 8000
metrics_during
load_end
# Master and workers talk over socketpairs, which are counted too.
metrics_bytes "$(load_figure http received)" "$(load_figure http sent)" 65536
metrics_pid
# shellcheck disable=SC2046
metrics_once "$server_pid" $(pgrep -P "$server_pid")
curl_hashes "http://127.0.0.1:$port/big" "$tmp/big"
ab_run 6000 "http://127.0.0.1:$port/f1000" -k
if command -v wrk >/dev/null; then
	wrk -t 1 -c 16 -d 1s "http://127.0.0.1:$port/f4000" >"$tmp/log/wrk" 2>&1
	! grep -Eq 'Non-2xx|Socket errors' "$tmp/log/wrk" || fail "wrk saw errors"
fi

# A reload replaces the workers; the old ones finish what they have begun.
workers() {
	pgrep -P "$server_pid" | sort | tr '\n' ' '
}
replaced() {
	local pid

	for pid in $before; do
		gone "$pid" || return 1
	done
	[ "$(pgrep -c -P "$server_pid")" = 2 ]
}
load_python reload load_http.py --port "$port" --root "$tmp/www" --clients 8 \
	--reconnect --least 2000
for number in 1 2 3; do
	before=$(workers)
	nginx -e "$tmp/log/error" -c "$tmp/conf" -s reload || fail "reload $number failed"
	within 10 replaced || fail "reload $number: workers stay"
done
metrics_during
load_end
grep -Eq '\[(alert|emerg|crit)\]' "$tmp/log/error" &&
	fail "$(grep -Em1 '\[(alert|emerg|crit)\]' "$tmp/log/error")"

server_stop QUIT 0
pass "$(load_figure http messages) files of 8 clients compared," \
	"$(amount "$(load_figure http received)"), 16 MiB by 4 curls, 6000 by ab," \
	"3 reloads under $(load_figure reload messages) requests"
