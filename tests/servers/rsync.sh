#!/bin/bash
# The rsync daemon: it forks for each connection, and that process forks again; both
# halves write to the same stream.  It is replaced while transfers run.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

need rsync
need_root
case_begin rsync
port=$(free_port)
make_files "$tmp/tree"
mkdir -p "$tmp/tree/many" "$tmp/in"
for number in {1..400}; do
	seq "$number" $((number * 7)) >"$tmp/tree/many/f$number"
done
head -c 2097152 /dev/urandom >"$tmp/tree/big"
chmod 777 "$tmp/in"
cat >"$tmp/conf" <<END
port = $port
address = 127.0.0.1
log file = $tmp/log/rsyncd
reverse lookup = no
uid = nobody
gid = nogroup
[tree]
path = $tmp/tree
use chroot = yes
[in]
path = $tmp/in
use chroot = no
read only = no
END
serve() {
	server_start rsync --daemon --no-detach --config "$tmp/conf"
	server_ready "$port"
}
serve
url=rsync://127.0.0.1:$port
# copies NAME OPTION...: up and down until told to stop, compared each time
copies() {
	local name=$1 round=0

	shift
	while [ ! -e "$tmp/stop" ] || [ "$round" -lt 2 ]; do
		rm -rf "$tmp/down.$name"
		timeout 20 rsync -r --timeout 15 "$@" "$url/tree/" "$tmp/down.$name" &&
			timeout 20 rsync -r --timeout 15 --delete "$@" "$tmp/tree/" \
				"$url/in/$name" || return 1
		diff -r "$tmp/tree" "$tmp/down.$name" >&2 || return 1
		diff -r "$tmp/tree" "$tmp/in/$name" >&2 || return 1
		# So that the next round has differences to send.
		cp "$tmp/tree/f1000000" "$tmp/in/$name/f33000"
		round=$((round + 1))
	done
	echo "{\"rounds\": $round}"
}
load_start plain copies plain
load_start zip copies zip -z
load_start sums copies sums -c --no-whole-file
metrics_during
metrics_pid
load_end
rounds=$(($(load_figure plain rounds) + $(load_figure zip rounds) +
	$(load_figure sums rounds)))

# Who has a connection goes on when the daemon is replaced.  Its process is the last of
# its family, and not in a chroot, from where it could not remove the metrics socket.
cp -r "$tmp/tree" "$tmp/in/again"
slow() {
	timeout 20 rsync -r --bwlimit 3000 "$url/in/again/" "$tmp/slow"
}
# The daemon may have a child of an earlier transfer, and the slow client's connection unaccepted yet.
served() {
	[ -n "$(ls -A "$tmp/slow" 2>/dev/null)" ]
}
load_start slow slow
within 10 served || fail "nobody serves the slow client"
kill -TERM "$server_pid"
within 10 gone "$server_pid" || fail "the daemon does not end"
serve
timeout 20 rsync -r "$url/tree/" "$tmp/fast" || fail "the new daemon does not serve"
load_end
diff -r "$tmp/tree" "$tmp/slow" || fail "the slow client got another tree"
diff -r "$tmp/tree" "$tmp/fast" || fail "the new daemon gave another tree"

server_stop TERM 0
pass "$rounds times 410 files and $(amount 2097152) down and up," \
	"plain, compressed and by differences; the daemon replaced under a client"
