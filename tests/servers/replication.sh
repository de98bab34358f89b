#!/bin/bash
# PostgreSQL's logical replication: a walsender streams rows to another server, which
# asks for them; initial copies by COPY, the subscriber restarts while clients write.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

bin=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null |
	sort -V | tail -n 1)
PATH=$PATH:$bin
need initdb postgres psql pgbench
case_begin postgres
user=() plain=()
if [ "$(id -u)" = 0 ]; then
	user=(-u postgres)
	plain=(setpriv --reuid postgres --regid postgres --init-groups)
	chown postgres "$tmp/log"
fi
mkdir -m 777 "$tmp/run"
"${plain[@]}" initdb -D "$tmp/run/one" -U weir -A trust -E UTF8 --locale=C -N \
	>"$tmp/log/initdb" 2>&1 || fail "initdb failed"
cp -a "$tmp/run/one" "$tmp/run/two"
one=$(free_port) two=$(free_port)
export PGHOST=127.0.0.1 PGUSER=weir PGDATABASE=postgres PGCONNECT_TIMEOUT=10
# serve NAME PORT
serve() {
	server_start "${user[@]}" "$bin/postgres" -D "$tmp/run/$1" -p "$2" \
		-c listen_addresses=127.0.0.1 -c unix_socket_directories="$tmp/run" \
		-c fsync=off -c wal_level=logical -c wal_retrieve_retry_interval=100ms
	server_ready "$2"
	within 15 sql "$2" -c 'select 1' || fail "psql cannot log in"
}
sql() {
	local port=$1

	shift
	timeout 30 psql -p "$port" -X -q -A -t -v ON_ERROR_STOP=1 "$@"
}
serve one "$one"
publisher=$server_pid
serve two "$two"
subscriber=$server_pid

schema="create table rows (a int primary key, b text);
	create table history (tid int, bid int, aid int, delta int, mtime timestamp,
		filler char(22), id bigint generated always as identity primary key)"
sql "$one" -c "$schema" || fail "cannot create the tables"
sql "$two" -c "$schema" || fail "cannot create the tables"
sql "$one" -c "insert into rows select i, repeat(md5(i::text), 1 + i % 40)
	from generate_series(1, 20000) i" || fail "cannot fill the table"
sql "$one" -c "create publication p for table rows, history" || fail "no publication"
sql "$two" -c "create subscription s connection
	'host=127.0.0.1 port=$one user=weir dbname=postgres' publication p" \
	2>"$tmp/log/subscription" || fail "no subscription"

cat >"$tmp/work.sql" <<'END'
\set a random(1, 20000)
\set d random(-5000, 5000)
begin;
update rows set b = repeat(md5((:d)::text), 1 + :a % 60) where a = :a;
insert into history (tid, bid, aid, delta, mtime) values (1, 1, :a, :d, now());
end;
END
load_start work pgbench -p "$one" -n -c 4 -j 2 -T 5 -f "$tmp/work.sql"
server_pid=$publisher
metrics_during
metrics_pid
# What the subscriber had is asked for again.
kill -INT "$subscriber" || fail "the subscriber is gone"
within 15 gone "$subscriber" || fail "the subscriber does not end"
serve two "$two"
subscriber=$server_pid
server_pid=$publisher
load_end
done=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' \
	"$tmp/log/work.out")
digest() {
	sql "$1" -c "select md5(string_agg(a || b, ',' order by a)) from rows" \
		-c "select count(*), sum(delta), sum(aid) from history"
}
wanted=$(digest "$one")
followed() {
	[ "$(digest "$two")" = "$wanted" ]
}
within 20 followed || fail "the subscriber has other rows"
[ "$(sql "$two" -c 'select count(*) from history')" = "$done" ] ||
	fail "the history is not $done transactions long"

kill -INT "$subscriber" || fail "the subscriber is gone"
within 15 gone "$subscriber" || fail "the subscriber does not end"
server_stop INT 0
pass "20000 rows copied, $done transactions followed, and the same by hash;" \
	"the subscriber restarted meanwhile"
