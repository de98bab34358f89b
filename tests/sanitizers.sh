#!/bin/bash
# Builds everything once more with a sanitizer, below the directory it is called in, and runs the tests with it.
#
#   tests/sanitizers.sh address      AddressSanitizer and UndefinedBehaviorSanitizer: make check, in ./address
#   tests/sanitizers.sh thread       ThreadSanitizer: make check-threads, in ./thread
set -eu

case ${1:-} in
address) list=address,undefined target=check ;;
thread) list=thread target=check-threads ;;
*)
	sed -n '2,6p' "$0" >&2
	exit 2
	;;
esac
source=${WEIR_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
mkdir -p "$1"
cd "$1"
find . -name '*.trs' -delete
# -O1: half the time to build, and the stacks in a report are whole.
"$source/configure" -q --enable-werror --enable-sanitizer="$list" CFLAGS='-O1 -g'
make -s -j2
exec make -s -k -j2 "$target"
