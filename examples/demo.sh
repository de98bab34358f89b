#!/bin/bash
# Shows what the library does to a real server: measured natively, then with the library.
#
#   examples/demo.sh [http|memcached|mosquitto]      http is the default
#
# On Debian 12 this is the only command needed: it installs the packages it lacks (as root
# or with sudo; otherwise it says which), builds, measures for about half a minute, and
# leaves nothing behind but the build directory. Exit status: 0 when the server answered
# correctly under the library, 1 when something failed, 2 for a wrong call.
#
# BUILD_DIR   where to build (default: build, beside the sources)
# NO_COLOR    set: no colours
set -euo pipefail

usage() {
	sed -n '2,12s/^# \{0,1\}//p' "$0"
}

subject=${1:-http}
case $subject in
http | memcached | mosquitto) ;;
-h | --help)
	usage
	exit 0
	;;
*)
	echo "demo: there is no demo of \"$subject\"" >&2
	usage >&2
	exit 2
	;;
esac
if [[ $# -gt 1 ]]; then
	usage >&2
	exit 2
fi

cd "$(dirname "$0")/.."
source_dir=$PWD
build=${BUILD_DIR:-build}
export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
unset LD_PRELOAD "${!STREAM_@}"

bash tests/setup.sh "demo-$subject" >&2

mkdir -p "$build"
build=$(cd "$build" && pwd)
log=$build/demo.log
: >"$log"

job=
stop() {
	if [[ -n $job ]]; then
		kill "$job" 2>/dev/null || true
	fi
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# step NAME COMMAND...   Runs it into the log, behind one line that shows where it is.
step() {
	local name=$1 status=0 since=$SECONDS
	shift
	"$@" >>"$log" 2>&1 </dev/null &
	job=$!
	if [[ ! -t 2 ]]; then
		echo "demo: $name" >&2
	fi
	while [[ -t 2 ]] && kill -0 "$job" 2>/dev/null; do
		printf '\r\033[K%s, %d s: %.50s' "$name" $((SECONDS - since)) \
			"$(tail -n 1 "$log" | tr -d '\r')" >&2
		sleep 0.2
	done
	wait "$job" || status=$?
	job=
	if [[ -t 2 ]]; then
		printf '\r\033[K' >&2
	fi
	if [[ $status -ne 0 ]]; then
		tail -n 20 "$log" >&2
		echo "demo: $name failed; the whole log is $log" >&2
		exit 1
	fi
}

if [[ ! -x configure || ! -e Makefile.in ]]; then
	step "preparing configure" autoreconf -fi
fi
cd "$build"
if [[ ! -e config.status || ! -e Makefile ]]; then
	step "configuring" "$source_dir/configure"
fi
step "building" make -j2 src/libweir.la bench/client bench/fan

# demo.py ends what it started, whatever happens, and itself after two minutes at most;
# timeout is for the machine that hangs.
export WEIR_LIB=${WEIR_LIB:-$build/src/.libs/libweir.so} BENCH_BIN=$build/bench
exec timeout --foreground --kill-after=15 150 \
	/usr/bin/python3 "$source_dir/examples/demo.py" "$subject"
