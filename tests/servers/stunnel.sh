#!/bin/bash
# stunnel as client and server at once: every byte goes through TLS twice, each
# connection has a thread, and it reads its configuration again under load.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

need stunnel openssl node ss
case_begin stunnel
plain=$(free_port) tls=$(free_port) port=$(free_port)
make_files "$tmp/www"
head -c 4194304 /dev/urandom >"$tmp/www/big"
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$tmp/key" -out "$tmp/cert" -days 2 \
	-subj /CN=localhost >"$tmp/log/openssl" 2>&1 || fail "no certificate"
cat >"$tmp/conf" <<END
foreground = quiet
pid =
output = $tmp/log/stunnel
debug = notice
[out]
client = yes
accept = 127.0.0.1:$port
connect = 127.0.0.1:$tls
verifyPeer = yes
CAfile = $tmp/cert
[in]
accept = 127.0.0.1:$tls
connect = 127.0.0.1:$plain
cert = $tmp/cert
key = $tmp/key
END
load_start backend node "$here/server.js" "$plain" "$tmp/www"
backend=${loads[0]%% *}
loads=()
server_start stunnel "$tmp/conf"
server_ready "$port"
within 10 port_open "$plain" || fail "the backend does not listen"

load_python http load_http.py --port "$port" --root "$tmp/www" --clients 6 \
	--pipeline 8 --post --least 3000
metrics_during
load_end
metrics_pid
curl_hashes "http://127.0.0.1:$port/big" "$tmp/www/big"
wanted=$(sha256sum <"$tmp/www/big")
for number in 1 2 3; do
	got=$(curl -sSf --max-time 20 --cacert "$tmp/cert" \
		--resolve "localhost:$tls:127.0.0.1" "https://localhost:$tls/big" | sha256sum)
	[ "$got" = "$wanted" ] || fail "curl over TLS got another file"
done

load_python reload load_http.py --port "$port" --root "$tmp/www" --clients 4 \
	--pipeline 2 --least 1000
connected() {
	[ "$(ss -Htn state established "dport = :$plain" | wc -l)" -ge 4 ]
}
# What waits to be accepted at a reload is reset, natively too.
within 10 connected || fail "not every client is connected"
for number in 1 2 3; do
	kill -HUP "$server_pid" || fail "the server is gone"
	[ "$(curl -sSf --max-time 20 --retry 9 --retry-all-errors --retry-delay 1 \
		"http://127.0.0.1:$port/big" | sha256sum)" = "$wanted" ] ||
		fail "reload $number: curl got another file"
done
load_end
kill "$backend"
wait "$backend"

server_stop TERM 0
pass "$(load_figure http messages) exchanges of 6 clients through TLS compared," \
	"$(amount "$(load_figure http received)") out, $(amount "$(load_figure http sent)")" \
	"in, 16 MiB by 4 curls, 3 reloads under $(load_figure reload messages) exchanges"
