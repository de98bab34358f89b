# Shared by the server cases.  A case is a script of its own: it sources this file,
# calls case_begin, starts its server with server_start, drives it, and ends with pass,
# fail or skip, which print the case's one line.  run.sh gives it its environment:
#
#   WEIR_LIB   the library to preload into the server (readable by every user), or
#              "none": the case runs natively and leaves the metrics out
#   CASE       the case's name
#
# What a case may use: $tmp, a private directory that any user may enter; $tmp/log,
# where everything it starts may write; $tmp/m, where the metrics sockets appear.
# Every wait has a deadline; run.sh kills what a case leaves behind.
# shellcheck shell=bash

set -u
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1
unset LD_PRELOAD STREAM_METRICS_SOCKET http_proxy HTTP_PROXY all_proxy ALL_PROXY

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=/usr/bin/python3
tmp=
server_pid=
metrics_socket=
# What of weir_internal_errors_total a case is right to have, as where a server
# forbids itself threads.
expected=
# Libraries that are preloaded as well, with a space between them and ours.
ahead=""
behind=""
# Metrics sockets, a line each, that stay: whoever is last in a chroot cannot remove its own.
stays=
loads=()
said=0

# Where verdicts go, also those before a case has begun.
exec 3>&1

# case_begin PROGRAM: PROGRAM is the name under which the server is invoked, which is
# also the name of its metrics socket.
case_begin() {
	tmp=$(mktemp -d "${TMPDIR:-/tmp}/weir-server.XXXXXX") || exit 1
	chmod 755 "$tmp"
	mkdir "$tmp/log"
	# Not sticky: a server that drops its rights must be able to remove its socket.
	mkdir -m 777 "$tmp/m"
	metrics_socket=$tmp/m/$1.sock
	trap case_end EXIT
	trap 'fail "its time was up"' TERM
	trap 'exit 130' INT
	exec >"$tmp/log/case" 2>&1
}

case_end() {
	local pid

	trap '' TERM INT
	# Jobs only: they are children not yet waited for, so their numbers are theirs.
	for pid in $(jobs -p); do
		kill -KILL "$pid" 2>/dev/null
	done
	[ "$said" = 1 ] || echo "not ok $CASE - ended without a verdict" >&3
	[ -n "${KEEP:-}" ] || rm -rf "$tmp"
}

pass() {
	said=1
	echo "ok $CASE - $*" >&3
	exit 0
}

# fail WHY: the verdict, then the ends of the logs as comments.
fail() {
	local file

	said=1
	echo "not ok $CASE - $*" >&3
	for file in "$tmp"/log/*; do
		[ -s "$file" ] || continue
		echo "# --- ${file##*/}" >&3
		tail -n 15 "$file" | cut -c 1-300 | sed 's/^/# /' >&3
	done
	exit 1
}

skip() {
	said=1
	echo "skip $CASE - $*" >&3
	exit 0
}

# need PROGRAM...: the case is skipped where one of them is not installed.
need() {
	local program

	for program in "$@"; do
		command -v "$program" >/dev/null || skip "$program is not installed"
	done
}

need_root() {
	[ "$(id -u)" = 0 ] || skip "must be run as root"
}

preloaded() {
	[ "$WEIR_LIB" != none ]
}

# within SECONDS COMMAND...: repeat COMMAND until it succeeds.
within() {
	local deadline=$((${EPOCHREALTIME/./} + $1 * 1000000))

	shift
	until "$@" 2>/dev/null; do
		[ "${EPOCHREALTIME/./}" -lt "$deadline" ] || return 1
		sleep 0.05
	done
}

# alive PID: false for a zombie.
alive() {
	local line

	while read -r line; do
		case $line in
		State:*Z*) return 1 ;;
		State:*) return 0 ;;
		esac
	done <"/proc/$1/status"
	return 1
}

gone() {
	! alive "$1"
}

# free_port: a TCP port below the range from which clients take theirs.
free_port() {
	"$python" "$here/wire.py" port
}

port_open() {
	(exec 4<>"/dev/tcp/127.0.0.1/$1")
}

# server_ready PORT
server_ready() {
	local deadline=$((${EPOCHREALTIME/./} + 15000000))

	until port_open "$1" 2>/dev/null; do
		alive "$server_pid" || fail "the server ended before it listened"
		[ "${EPOCHREALTIME/./}" -lt "$deadline" ] ||
			fail "the server does not listen on its port"
		sleep 0.05
	done
}

# server_start [-u USER] COMMAND...: the server alone gets the library.
server_start() {
	local as=() with=()

	if [ "$1" = -u ]; then
		as=(setpriv --reuid "$2" --regid "$(id -g "$2")" --init-groups)
		shift 2
	fi
	if preloaded; then
		with=("LD_PRELOAD=$ahead$WEIR_LIB$behind"
			"STREAM_METRICS_SOCKET=$tmp/m/%e.sock")
	elif [ -n "$ahead$behind" ]; then
		with=("LD_PRELOAD=$ahead$behind")
	fi
	# A shell starts background jobs with SIGINT and SIGQUIT ignored.
	setsid "${as[@]}" env --default-signal=INT,QUIT "${with[@]}" "$@" \
		</dev/null >"$tmp/log/server.out" 2>"$tmp/log/server.err" &
	server_pid=$!
}

# server_stop SIGNAL STATUS: it must end as it does natively and leave no socket.
server_stop() {
	kill -s "$1" "$server_pid" || fail "the server is gone before its SIG$1"
	server_ended "$2" "on SIG$1"
}

no_sockets() {
	! find "$tmp/m" -mindepth 1 -printf '%f\n' | grep -qvFx "$stays"
}

# server_ended STATUS HOW
server_ended() {
	local status

	within 15 gone "$server_pid" || fail "the server does not end $2"
	wait "$server_pid"
	status=$?
	[ "$status" = "$1" ] || fail "the server ended $2 with $status, natively with $1"
	within 15 no_sockets || fail "left in the socket's directory: $(ls -A "$tmp/m")"
	if grep -Eq '^(lib)?weir|ERROR: ld\.so' "$tmp/log/server.err"; then
		fail "the library complained: $(grep -Em1 '^(lib)?weir|ld\.so' \
			"$tmp/log/server.err")"
	fi
}

# load_start NAME COMMAND...: a client that runs beside others.  The ones of this
# directory are given --until and go on until load_end.
load_start() {
	local name=$1

	shift
	"$@" >"$tmp/log/$name.out" 2>"$tmp/log/$name.err" &
	loads+=("$! $name")
}

# load_python NAME SCRIPT ARGUMENT...
load_python() {
	local name=$1 script=$2

	shift 2
	load_start "$name" "$python" "$here/$script" --until "$tmp/stop" "$@"
}

# load_end: all of them must succeed.
load_end() {
	local entry

	touch "$tmp/stop"
	for entry in "${loads[@]}"; do
		wait "${entry%% *}" || fail "client ${entry#* } failed: $(tail -n 1 \
			"$tmp/log/${entry#* }.err")"
	done
	loads=()
	rm -f "$tmp/stop"
}

# load_figure NAME KEY: a number from the report of a client of this directory.
load_figure() {
	sed -n "s/.*\"$2\": *\\([0-9][0-9]*\\).*/\\1/p" "$tmp/log/$1.out"
}

# amount BYTES: for people.
amount() {
	if [ "$1" -ge 10485760 ]; then
		echo "$(($1 / 1048576)) MiB"
	else
		echo "$(($1 / 1024)) KiB"
	fi
}

# fetch URLPATH FILE [CURL ARGUMENT...]: the head goes to FILE.head
fetch() {
	local path=$1 file=$2

	shift 2
	curl -sS --max-time 15 --unix-socket "$metrics_socket" -D "$file.head" \
		-o "$file" "$@" "http://localhost$path" ||
		fail "curl cannot read $path from the metrics socket"
}

# scrape DIRECTORY: every document of the metrics socket, each one checked.
scrape() {
	mkdir "$1"
	fetch /metrics "$1/text"
	fetch /metrics "$1/openmetrics" -H "Accept: application/openmetrics-text"
	fetch /metrics.json "$1/metrics.json"
	fetch /streams "$1/streams.json"
	fetch '/streams?sort=bytes&limit=3' "$1/top.json"
	fetch /buffer-pool-metrics "$1/pool.json"
	fetch /healthz "$1/healthz.json"
	# shellcheck disable=SC2086 # none, or several
	"$python" "$here/metrics.py" documents "$1" $expected >"$1/verdict" 2>&1 ||
		fail "metrics: $(tail -n 1 "$1/verdict")"
	if command -v promtool >/dev/null; then
		promtool check metrics <"$1/text" >"$1/promtool" 2>&1 ||
			fail "promtool: $(tail -n 1 "$1/promtool")"
	fi
}

# metrics_during: while clients run, every document twice; the counts grow between.
metrics_during() {
	preloaded || return 0
	within 10 test -S "$metrics_socket" ||
		fail "no metrics socket; there is: $(ls -A "$tmp/m")"
	rm -rf "$tmp/scrape.1" "$tmp/scrape.2"
	"$python" "$here/metrics.py" moving "$metrics_socket" ||
		fail "metrics: no bytes counted while clients run"
	scrape "$tmp/scrape.1"
	"$python" "$here/metrics.py" moving "$metrics_socket" "$tmp/scrape.1" ||
		fail "metrics: the bytes do not grow while clients run"
	scrape "$tmp/scrape.2"
	"$python" "$here/metrics.py" compare "$tmp/scrape.1" "$tmp/scrape.2" \
		>"$tmp/log/compare" 2>&1 ||
		fail "metrics: $(tail -n 1 "$tmp/log/compare")"
}

# metrics_bytes SENT RECEIVED [SLACK]: what the server's accepted streams sent and
# received by now, exactly, or up to SLACK bytes more.
metrics_bytes() {
	preloaded || return 0
	"$python" "$here/metrics.py" bytes "$metrics_socket" "$@" \
		>"$tmp/log/bytes" 2>&1 || fail "metrics: $(tail -n 1 "$tmp/log/bytes")"
}

# metrics_pid: the family began with the process we started.
metrics_pid() {
	preloaded || return 0
	"$python" "$here/metrics.py" pid "$metrics_socket" "$server_pid" \
		>"$tmp/log/pid" 2>&1 || fail "metrics: $(tail -n 1 "$tmp/log/pid")"
}

# metrics_once PID...: these processes, of one family, have one socket, and two of their
# threads are the library's: one serves, one stands by.
metrics_once() {
	preloaded || return 0
	[ "$(ls -A "$tmp/m")" = "${metrics_socket##*/}" ] ||
		fail "more than one socket: $(ls -A "$tmp/m")"
	within 15 two_serve "$@" ||
		fail "in the processes $* there are $(serving "$@") metrics threads"
}

# serving PID...: the number of threads that serve or stand by.
serving() {
	local pid

	for pid; do
		cat "/proc/$pid/task/"*/comm 2>/dev/null
	done | grep -c weir-metrics
}

two_serve() {
	[ "$(serving "$@")" = 2 ]
}

# metrics_takeover: the process that answers is killed; another one answers within two
# seconds, and no counter fell.
metrics_takeover() {
	preloaded || return 0
	"$python" "$here/metrics.py" takeover "$metrics_socket" >"$tmp/log/takeover" 2>&1 ||
		fail "metrics: $(tail -n 1 "$tmp/log/takeover")"
}

# make_files DIRECTORY: what the web servers serve; the clients compare every body.
make_files() {
	local size

	mkdir "$1"
	for size in 1 100 1000 4000 9000 30000 33000 100000 1000000; do
		head -c "$size" /dev/urandom >"$1/f$size"
	done
}

# curl_hashes URL FILE: four curls at once fetch 4 MiB each; all must be the file.
curl_hashes() {
	local wanted number

	wanted=$(sha256sum <"$2")
	for number in 1 2 3 4; do
		load_start "curl$number" curl -sSf --max-time 20 -o "$tmp/got.$number" "$1"
	done
	for number in 1 2 3 4; do
		wait "${loads[$number - 1]%% *}" || fail "curl $number failed"
		[ "$(sha256sum <"$tmp/got.$number")" = "$wanted" ] ||
			fail "curl $number got another file"
		rm "$tmp/got.$number"
	done
	loads=()
}

# ab_run NUMBER URL [ARGUMENT...]: ApacheBench must see NUMBER good replies.
ab_run() {
	local number=$1 url=$2

	shift 2
	ab -q -n "$number" -c 8 -s 15 "$@" "$url" >"$tmp/log/ab" 2>&1 ||
		fail "ab: $(tail -n 1 "$tmp/log/ab")"
	if ! grep -q "^Complete requests: *$number\$" "$tmp/log/ab" ||
		! grep -q '^Failed requests: *0$' "$tmp/log/ab" ||
		grep -q '^Non-2xx' "$tmp/log/ab"; then
		fail "ab: $(grep -E '^(Complete|Failed|Non-2xx)' "$tmp/log/ab" |
			tr -s '\n ' ' ')"
	fi
}

# watched SCRIPT: a test that starts its own server (watched.py); its last line is the
# verdict.
watched() {
	preloaded || skip "it is about the metrics"
	"$python" "$here/$1" "$tmp/m" >"$tmp/log/test" 2>&1 ||
		fail "$(tail -n 1 "$tmp/log/test")"
	pass "$(tail -n 1 "$tmp/log/test")"
}
