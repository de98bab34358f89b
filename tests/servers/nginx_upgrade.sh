#!/bin/bash
# nginx replaces its own binary (USR2): the new master inherits the listening sockets by
# number over an exec, is a family of its own, and takes nothing over. The old one goes.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need nginx
need_root
case_begin nginx
port=$(free_port)
make_files "$tmp/www"
cat >"$tmp/conf" <<END
worker_processes 2;
user www-data;
pid $tmp/pid;
error_log $tmp/log/error warn;
env LD_PRELOAD;
env STREAM_METRICS_SOCKET;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path $tmp/t1; proxy_temp_path $tmp/t2;
	fastcgi_temp_path $tmp/t3; uwsgi_temp_path $tmp/t4; scgi_temp_path $tmp/t5;
	server { listen 127.0.0.1:$port; root $tmp/www; }
}
END
# A daemon: under its first parent nginx refuses to be upgraded. By its path: it executes what it
# was called by.
server_start "$(command -v nginx)" -e "$tmp/log/error" -c "$tmp/conf"
first=$server_pid
within 10 test -s "$tmp/pid" || fail "no daemon"
wait "$first" || fail "nginx ended with $?"
old=$(cat "$tmp/pid")
server_pid=$old
server_ready "$port"

load_python http load_http.py --port "$port" --root "$tmp/www" --clients 6 \
	--reconnect --least 3000
metrics_during
# shellcheck disable=SC2046
metrics_once "$old" $(pgrep -P "$old")

kill -USR2 "$old" || fail "the master is gone"
upgraded() {
	[ -s "$tmp/pid.oldbin" ] && [ -s "$tmp/pid" ] &&
		[ "$(pgrep -c -P "$(cat "$tmp/pid")")" = 2 ]
}
within 15 upgraded || fail "there is no new master"
new=$(cat "$tmp/pid")
if preloaded; then
	within 15 test -S "$metrics_socket.$new" ||
		fail "the new family has no socket; there is: $(ls -A "$tmp/m")"
	"$python" "$here/metrics.py" moving "$metrics_socket" ||
		fail "the old family's socket does not answer"
fi
kill -QUIT "$old" || fail "the old master is gone"
within 20 gone "$old" || fail "the old master does not end"
load_end
if preloaded; then
	old_socket=$metrics_socket
	metrics_socket=$metrics_socket.$new
	within 15 test ! -e "$old_socket" || fail "the old family left its socket"
	scrape "$tmp/scrape.new"
	# shellcheck disable=SC2046
	metrics_once "$new" $(pgrep -P "$new")
fi
grep -Eq '\[(alert|emerg|crit)\]' "$tmp/log/error" &&
	fail "$(grep -Em1 '\[(alert|emerg|crit)\]' "$tmp/log/error")"
kill -QUIT "$new" || fail "the new master is gone"
within 20 gone "$new" || fail "the new master does not end"
within 15 no_sockets || fail "left in the socket's directory: $(ls -A "$tmp/m")"
pass "$(load_figure http messages) files of 6 clients compared over an upgrade"
