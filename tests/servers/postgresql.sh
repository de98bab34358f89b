#!/bin/bash
# PostgreSQL: a process for each connection, forked from the postmaster.  COPY in and
# out, COPY to a program, pgbench.  It refuses to run as root.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

bin=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null |
	sort -V | tail -n 1)
PATH=$PATH:$bin
need initdb postgres psql pgbench
case_begin postgres
port=$(free_port)
user=() plain=()
if [ "$(id -u)" = 0 ]; then
	user=(-u postgres)
	plain=(setpriv --reuid postgres --regid postgres --init-groups)
	chown postgres "$tmp/log"
fi
mkdir -m 777 "$tmp/run"
"${plain[@]}" initdb -D "$tmp/run/data" -U weir -A trust -E UTF8 --locale=C -N \
	>"$tmp/log/initdb" 2>&1 || fail "initdb failed"
server_start "${user[@]}" "$bin/postgres" -D "$tmp/run/data" -p "$port" \
	-c listen_addresses=127.0.0.1 -c unix_socket_directories="$tmp/run" -c fsync=off
server_ready "$port"
export PGHOST=127.0.0.1 PGPORT=$port PGUSER=weir PGDATABASE=postgres PGCONNECT_TIMEOUT=10
sql() {
	timeout 30 psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"
}
within 15 sql -c 'select 1' || fail "psql cannot log in"

# 16 MiB in, then out again through several connections, TCP and Unix, by hash.
awk 'BEGIN { for (i = 0; i < 120000; i++)
	printf "%d\t%d\trow %d of the table, with a text that differs: %x %x %x\n",
		i, i * 7919 % 100003, i, i * 7207 % 1000003, i * 40503 % 65521,
		i % 4093 }' >"$tmp/rows"
wanted=$(sha256sum <"$tmp/rows")
sql -c 'create table rows (a int, b int, c text)' || fail "cannot create a table"
sql -c 'copy rows from stdin' <"$tmp/rows" || fail "COPY FROM failed"
copies() {
	local round=0 got

	# Until told to stop, and at least twice.
	while [ ! -e "$tmp/stop" ] || [ "$round" -lt 2 ]; do
		got=$(sql -h "$1" -c 'copy (select * from rows order by a) to stdout' |
			sha256sum)
		[ "$got" = "$wanted" ] || {
			echo "COPY TO differs" >&2
			return 1
		}
		round=$((round + 1))
	done
	echo "{\"rounds\": $round}"
}
load_start tcp copies 127.0.0.1
load_start unix copies "$tmp/run"
metrics_during
load_end
rounds=$(($(load_figure tcp rounds) + $(load_figure unix rounds)))
# psql does not count its bytes: at least the data, at most a tenth of frames more.
size=$(stat -c %s "$tmp/rows")
out=$((size * rounds))
metrics_bytes "$out" "$size" "$((out / 5 + 1048576))"
metrics_pid
# shellcheck disable=SC2046
metrics_once "$server_pid" $(pgrep -P "$server_pid")

sql -c "copy (select * from rows order by a)
	to program 'sha256sum >$tmp/run/sum'" || fail "COPY TO PROGRAM failed"
[ "$(sql -c 'select count(*), sum(b) from rows')" = "$(awk -F '\t' \
	'{ s += $2 } END { printf "%d|%.0f", NR, s }' "$tmp/rows")" ] ||
	fail "the sums differ"
read -r sum _ <"$tmp/run/sum"
[ "$sum" = "${wanted%% *}" ] || fail "COPY TO PROGRAM wrote other rows"

pgbench -i -q -s 1 >"$tmp/log/pgbench" 2>&1 || fail "pgbench -i failed"
for mode in simple extended prepared; do
	pgbench -n -c 4 -j 2 -t 500 -M "$mode" >"$tmp/log/pgbench" 2>&1 ||
		fail "pgbench -M $mode failed"
	grep -q 'processed: 2000/2000' "$tmp/log/pgbench" ||
		fail "pgbench -M $mode: $(grep processed "$tmp/log/pgbench")"
done
[ "$(sql -c 'select count(*) from pgbench_history')" = 6000 ] ||
	fail "pgbench's transactions are not all there"
[ "$(sql -c 'select sum(abalance) - (select sum(delta) from pgbench_history)
	from pgbench_accounts')" = 0 ] || fail "pgbench's balances are wrong"

server_stop INT 0
pass "COPY of $(amount "$size") in and $rounds times out by hash over TCP and Unix," \
	"to a program, 6000 pgbench transactions add up"
