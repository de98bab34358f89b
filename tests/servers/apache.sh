#!/bin/bash
# Apache with the event worker: a listener thread and a pool of workers in each child,
# and graceful restarts under load.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need apache2 ab
need_root
case_begin apache2
modules=/usr/lib/apache2/modules
[ -e "$modules/mod_mpm_event.so" ] || skip "apache2 has no event worker"
port=$(free_port)
make_files "$tmp/www"
head -c 4194304 /dev/urandom >"$tmp/big"
cat >"$tmp/conf" <<END
ServerRoot $tmp
ServerName localhost
DefaultRuntimeDir $tmp/log
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule mime_module $modules/mod_mime.so
LoadModule alias_module $modules/mod_alias.so
TypesConfig /etc/mime.types
PidFile $tmp/log/pid
ErrorLog $tmp/log/error
Listen 127.0.0.1:$port
User www-data
Group www-data
StartServers 2
ThreadsPerChild 8
MaxRequestWorkers 32
MaxKeepAliveRequests 0
KeepAliveTimeout 15
DocumentRoot $tmp/www
Alias /big $tmp/big
END
[ -e /etc/mime.types ] || sed -i '/^TypesConfig/d; /mime_module/d' "$tmp/conf"
server_start apache2 -DFOREGROUND -f "$tmp/conf"
server_ready "$port"

load_python http load_http.py --port "$port" --root "$tmp/www" --clients 8 \
	--pipeline 4 --least 6000
metrics_during
load_end
metrics_bytes "$(load_figure http received)" "$(load_figure http sent)" 65536
metrics_pid
# shellcheck disable=SC2046
metrics_once "$server_pid" $(pgrep -P "$server_pid")
curl_hashes "http://127.0.0.1:$port/big" "$tmp/big"
ab_run 6000 "http://127.0.0.1:$port/f1000" -k

# A graceful restart: children leave when their connections do.
children() {
	pgrep -P "$server_pid" | tr '\n' ' '
}
replaced() {
	local pid

	for pid in $before; do
		gone "$pid" || return 1
	done
	[ "$(pgrep -c -P "$server_pid")" -ge 2 ]
}
load_python graceful load_http.py --port "$port" --root "$tmp/www" --clients 6 \
	--reconnect --least 2000
for number in 1 2; do
	before=$(children)
	kill -USR1 "$server_pid" || fail "the server is gone"
	within 15 replaced || fail "restart $number: children $before stay"
done
metrics_during
load_end
ab_run 500 "http://127.0.0.1:$port/f1000"

server_stop TERM 0
pass "$(load_figure http messages) files of 8 clients compared," \
	"$(amount "$(load_figure http received)"), 16 MiB by 4 curls, 6500 by ab," \
	"2 graceful restarts under $(load_figure graceful messages) requests"
