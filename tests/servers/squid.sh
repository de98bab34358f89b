#!/bin/bash
# squid before a server that it caches, and as a proxy with CONNECT: one process does all
# by epoll, its helpers talk to it over socketpairs.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need squid node curl
need_root
setpriv --reuid proxy --clear-groups test -w /dev/shm || skip "/dev/shm is not for everybody here"
case_begin squid
plain=$(free_port) port=$(free_port) proxy=$(free_port)
make_files "$tmp/www"
head -c 4194304 /dev/urandom >"$tmp/www/big"
chown proxy "$tmp/log"
cat >"$tmp/helper" <<'END'
#!/bin/sh
# A basic authentication helper: one line in, one line out.
while read -r line; do
	case $line in
	*"user secret"*) echo OK ;;
	*) echo ERR ;;
	esac
done
END
chmod 755 "$tmp/helper"
cat >"$tmp/conf" <<END
http_port 127.0.0.1:$port accel defaultsite=localhost no-vhost
http_port 127.0.0.1:$proxy
cache_peer 127.0.0.1 parent $plain 0 no-query originserver name=node
auth_param basic program $tmp/helper
auth_param basic children 2 startup=1 idle=1
acl outward localport $proxy
acl known proxy_auth REQUIRED
cache_peer_access node deny outward
cache_peer_access node allow all
http_access deny outward !known
http_access allow all
always_direct allow outward
never_direct deny outward
cache_mem 16 MB
maximum_object_size_in_memory 64 KB
pid_filename $tmp/log/pid
access_log none
cache_log $tmp/log/squid
coredump_dir $tmp/log
shutdown_lifetime 1 seconds
client_persistent_connections on
END
load_start backend node "$here/server.js" "$plain" "$tmp/www"
backend=${loads[0]%% *}
loads=()
within 10 port_open "$plain" || fail "the backend does not listen"
# Without -N the working process has two identities when it starts: no preload for it.
server_start squid -N -f "$tmp/conf"
server_ready "$port"

load_python http load_http.py --port "$port" --root "$tmp/www" --clients 6 \
	--post --reconnect --least 700
metrics_during
load_end
metrics_pid
curl_hashes "http://127.0.0.1:$port/big" "$tmp/www/big"

# Through the proxy with a password that a helper checks, plainly and by CONNECT.
wanted=$(sha256sum <"$tmp/www/big")
through() {
	curl -sSf --max-time 20 -x "http://user:secret@127.0.0.1:$proxy" "$@" \
		"http://127.0.0.1:$plain/big" | sha256sum
}
load_python reload load_http.py --port "$port" --root "$tmp/www" --clients 4 \
	--reconnect --patient --least 500
reopened() {
	[ "$(grep -c 'Accepting reverse-proxy' "$tmp/log/squid")" -gt "$1" ] &&
		port_open "$proxy" && port_open "$port"
}
for number in 1 2; do
	[ "$(through)" = "$wanted" ] || fail "curl through the proxy got another file"
	[ "$(through -p)" = "$wanted" ] || fail "curl through a tunnel got another file"
	kill -HUP "$server_pid" || fail "the server is gone"
	within 10 reopened "$number" || fail "nobody listens after reload $number"
done
metrics_during
load_end
kill "$backend"
wait "$backend"
! grep -E 'FATAL|assertion failed|exited due to signal' "$tmp/log/squid" ||
	fail "squid complains"

server_stop TERM 0
pass "$(load_figure http messages) exchanges of 6 clients compared," \
	"$(amount "$(load_figure http received)") out, 16 MiB by 4 curls, a password" \
	"asked of a helper, tunnels, 2 reloads under $(load_figure reload messages) exchanges"
