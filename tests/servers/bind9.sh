#!/bin/bash
# bind9 over TCP: libuv, several threads, rights dropped with setuid and capset.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need named dig
case_begin named
names=400
port=$(free_port)
"$python" "$here/load_dns.py" --port 0 --names "$names" --zone "$tmp/zone" ||
	fail "cannot write the zone"
user=()
if [ "$(id -u)" = 0 ]; then
	user=(-u bind)
	chown bind "$tmp/log"
fi
cat >"$tmp/conf" <<END
options {
	directory "$tmp/log";
	pid-file none;
	session-keyfile none;
	managed-keys-directory "$tmp/log";
	listen-on port $port { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion no;
	dnssec-validation no;
	minimal-responses yes;
	tcp-clients 100;
};
controls { };
zone "weir.test" { type primary; file "$tmp/zone"; };
END
server_start named -g -n 2 "${user[@]}" -c "$tmp/conf"
server_ready "$port"
answers() {
	[ "$(dig +tcp +short +time=2 +tries=1 -p "$port" @127.0.0.1 ns.weir.test A)" = \
		127.0.0.1 ]
}
within 15 answers || fail "dig gets no answer"
# dig counts no bytes, so what it moved so far is taken off.
base=(0 0)
if preloaded; then
	mapfile -t base < <("$python" "$here/metrics.py" now "$metrics_socket")
fi

load_python dns load_dns.py --port "$port" --clients 6 --names "$names" \
	--pipeline 20 --least 12000
metrics_during
load_end
metrics_bytes "$((base[0] + $(load_figure dns received)))" \
	"$((base[1] + $(load_figure dns sent)))"
metrics_pid

for ((number = 0; number < 3000; number++)); do
	echo "t$((number % names)).weir.test TXT"
done >"$tmp/queries"
for number in 1 2 3; do
	load_start "dig$number" dig +tcp +keepopen +short +time=5 -p "$port" \
		@127.0.0.1 -f "$tmp/queries"
done
load_end
awk -F '"' '/TXT/ { print "\"" $2 "\"" }' "$tmp/zone" >"$tmp/texts"
for ((number = 0; number < 3000; number += names)); do
	cat "$tmp/texts"
done | head -n 3000 >"$tmp/wanted"
for number in 1 2 3; do
	cmp -s "$tmp/wanted" "$tmp/log/dig$number.out" ||
		fail "dig $number got other answers"
done

server_stop TERM 0
pass "$(load_figure dns messages) queries of 6 clients compared," \
	"9000 by 3 dig +tcp +keepopen"
