#!/bin/bash
# slapd: a listener thread on epoll and a pool of workers that write the answers.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need slapd slapadd ldapsearch
case_begin slapd
entries=500
port=$(free_port)
mkdir "$tmp/db"
cat >"$tmp/conf" <<END
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
pidfile $tmp/log/pid
modulepath /usr/lib/ldap
moduleload back_mdb
sizelimit unlimited
database mdb
maxsize 67108864
suffix "dc=weir"
directory $tmp/db
dbnosync
END
"$python" "$here/load_ldap.py" --port 0 --entries "$entries" --ldif "$tmp/ldif" ||
	fail "cannot write the directory"
slapadd -q -f "$tmp/conf" -l "$tmp/ldif" >"$tmp/log/slapadd" 2>&1 ||
	fail "slapadd: $(tail -n 1 "$tmp/log/slapadd")"
server_start slapd -d 0 -f "$tmp/conf" -h "ldap://127.0.0.1:$port"
server_ready "$port"

load_python ldap load_ldap.py --port "$port" --clients 6 --entries "$entries" \
	--least 20000
metrics_during
load_end
# Its threads wake each other through a socketpair, which is counted too.
metrics_bytes "$(load_figure ldap received)" "$(load_figure ldap sent)" 1048576
metrics_pid

search() {
	ldapsearch -x -LLL -o ldif-wrap=no -o nettimeout=10 -H "ldap://127.0.0.1:$port" \
		-b dc=weir -s one cn description
}
wanted=$(grep '^description' "$tmp/ldif" | sort | sha256sum)
for number in 1 2 3 4; do
	load_start "search$number" search
done
load_end
for number in 1 2 3 4; do
	[ "$(grep '^description' "$tmp/log/search$number.out" | sort | sha256sum)" = \
		"$wanted" ] || fail "ldapsearch $number found other entries"
done

server_stop TERM 0
pass "$(load_figure ldap messages) entries to 6 clients compared," \
	"$(amount "$(load_figure ldap received)") received, 4 ldapsearch of all $entries"
