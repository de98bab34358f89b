#!/bin/bash
# MariaDB: a thread for each connection, then a pool of threads on epoll; results are
# written in packets.  A replica follows while clients write.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need mariadbd mariadb mariadb-install-db
case_begin mariadbd
user=() plain=()
if [ "$(id -u)" = 0 ]; then
	# It refuses to run as root, and its user is of another package.
	user=(-u nobody)
	plain=(setpriv --reuid nobody --regid nogroup --init-groups)
	chown nobody "$tmp/log"
fi
mkdir -m 777 "$tmp/run"
"${plain[@]}" mariadb-install-db --no-defaults --datadir="$tmp/run/data" \
	--auth-root-authentication-method=normal --skip-test-db \
	--innodb-log-file-size=8M >"$tmp/log/install" 2>&1 ||
	fail "mariadb-install-db failed"
cp -a "$tmp/run/data" "$tmp/run/copy"
# serve DATADIR PORT ID OPTION...
serve() {
	local data=$1 port=$2 id=$3

	shift 3
	server_start "${user[@]}" "$(command -v mariadbd)" --no-defaults \
		--datadir="$tmp/run/$data" --port="$port" --bind-address=127.0.0.1 \
		--socket="$tmp/run/$data.sock" --pid-file="$tmp/run/$data.pid" \
		--server-id="$id" --log-bin="$tmp/run/$data-bin" --innodb-buffer-pool-size=24M \
		--innodb-log-file-size=8M --innodb-flush-log-at-trx-commit=0 \
		--performance-schema=off --skip-name-resolve "$@"
	server_ready "$port"
}
sql() {
	timeout 30 mariadb --no-defaults -uroot --protocol=tcp -h 127.0.0.1 -N -B \
		--default-character-set=binary "$@"
}
port=$(free_port)
serve data "$port" 1

rows=40000
awk -v n="$rows" 'BEGIN {
	print "create database d; use d; create table t (a int primary key, b int, c text);"
	for (i = 0; i < n; i++) {
		if (i % 500 == 0) printf "insert into t values "
		printf "(%d,%d,\"row %d of the table, with a text that differs: %x %x %x\")",
			i, i * 7919 % 100003, i, i * 7207 % 1000003, i * 40503 % 65521, i % 4093
		printf i % 500 == 499 ? ";\n" : ","
	} }' >"$tmp/rows.sql"
awk -v n="$rows" 'BEGIN { for (i = 0; i < n; i++)
	printf "%d\t%d\trow %d of the table, with a text that differs: %x %x %x\n",
		i, i * 7919 % 100003, i, i * 7207 % 1000003, i * 40503 % 65521,
		i % 4093 }' >"$tmp/rows"
wanted=$(sha256sum <"$tmp/rows")
sql -P "$port" <"$tmp/rows.sql" || fail "the rows do not go in"
# selects ARGUMENT...: all rows, until told to stop and at least twice
selects() {
	local round=0 got

	while [ ! -e "$tmp/stop" ] || [ "$round" -lt 2 ]; do
		got=$(sql "$@" d -e 'select * from t order by a' | sha256sum)
		[ "$got" = "$wanted" ] || {
			echo "the rows differ" >&2
			return 1
		}
		round=$((round + 1))
	done
	echo "{\"rounds\": $round}"
}
writes() {
	local i

	for i in {1..300}; do
		echo "insert into w values ($1, $i, repeat('$i', $((i * 7))));"
	done | sql -P "$port" d
}
sql -P "$port" d -e 'create table w (who int, i int, c text, primary key (who, i))' ||
	fail "cannot create a table"
check_writes() {
	[ "$(sql -P "$1" d -e 'select count(*), sum(i), sum(length(c)) from w')" = \
		"$(awk 'BEGIN { for (i = 1; i <= 300; i++) l += length(i) * i * 7
			printf "%d\t%d\t%d", 900, 3 * 45150, 3 * l }')" ]
}
load_start tcp selects -P "$port"
load_start zip selects -P "$port" --compress
for number in 1 2 3; do
	load_start "write$number" writes "$number"
done
metrics_during
load_end
metrics_pid
rounds=$(($(load_figure tcp rounds) + $(load_figure zip rounds)))
check_writes "$port" || fail "the written rows are not there"

# A replica, with a pool of threads, gets all of it from the binary log.
first=$server_pid
replica=$(free_port)
serve copy "$replica" 2 --thread-handling=pool-of-threads --thread-pool-size=2
sql -P "$replica" -e "change master to master_host='127.0.0.1', master_port=$port,
	master_user='root', master_log_file='data-bin.000001', master_log_pos=4;
	start slave" || fail "the replica does not start"
followed() {
	[ "$(sql -P "$replica" d -e 'select count(*) from w')" = 900 ]
}
within 15 followed || fail "the replica does not follow"
check_writes "$replica" || fail "the replica has other rows"
load_start pool selects -P "$replica"
load_start pool2 selects -P "$replica"
load_end
sql -P "$replica" -e 'stop slave' || fail "the replica does not stop"
kill -TERM "$server_pid"
within 15 gone "$server_pid" || fail "the replica does not end"

server_pid=$first
server_stop TERM 0
pass "$rounds times $rows rows by hash, plain and compressed, 900 rows written" \
	"meanwhile, a replica with a pool of threads has the same"
