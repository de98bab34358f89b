#!/bin/bash
# Measures native and preloaded servers side by side; see README.md beside this file.
#
#   bench/run.sh [--quick] [--out DIR] [--strace] [--keep] [NAME...]
#
# WEIR_LIB   the library; "none" compares native with native
# BENCH_BIN  where `make bench-programs` put the C programs; left out: bench/ of
#            $WEIR_BUILD, or they are compiled with ${CC:-cc} and removed afterwards
set -eu

here=$(cd "$(dirname "$0")" && pwd)

if [ -z "${WEIR_LIB:-}" ]; then
	for candidate in "$PWD/src/.libs/libweir.so" "$here/../src/.libs/libweir.so"; do
		if [ -e "$candidate" ]; then
			WEIR_LIB=$(realpath "$candidate")
			break
		fi
	done
fi
if [ -z "${WEIR_LIB:-}" ]; then
	echo "bench: no libweir.so here: run make first, or set WEIR_LIB" >&2
	exit 2
fi
if [ "$WEIR_LIB" != none ]; then
	WEIR_LIB=$(realpath "$WEIR_LIB")
fi
if [ "$WEIR_LIB" != none ] && [ ! -r "$WEIR_LIB" ]; then
	echo "bench: cannot read $WEIR_LIB" >&2
	exit 2
fi

if [ -z "${BENCH_BIN:-}" ] && [ -x "${WEIR_BUILD:-}/bench/client" ]; then
	BENCH_BIN=$WEIR_BUILD/bench
fi
scratch=
if [ -z "${BENCH_BIN:-}" ]; then
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	chmod 755 "$scratch" # servers change their user
	BENCH_BIN=$scratch
	compile() {
		local program=$1
		shift
		(cd "$here" && "${CC:-cc}" -O2 -g -D_GNU_SOURCE -pthread "$program.c" "$@" \
			-o "$BENCH_BIN/$program")
	}
	floors=("$here"/../src/{base,count,pool}/*.c)
	compile client reply.c net.c
	for program in two_write pool_worker small_sends recv64 late fan pingpong sweep \
		rests; do
		compile "$program" net.c
	done
	compile sweep_memory net.c "-I$here/../src" "${floors[@]}"
fi

ulimit -n "$(ulimit -Hn)"
export WEIR_LIB BENCH_BIN PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8
/usr/bin/python3 "$here/main.py" "$@"
