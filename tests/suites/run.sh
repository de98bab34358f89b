#!/bin/bash
# run.sh [SUITE[/PART]...]: other people's tests, natively and under the library, case by
# case: "python", or "python/test_socket"; likewise "stress-ng", "redis", "memcached",
# "postgresql", "haproxy"; by default all, for hours.  What is said and counted: compare.py.
#
# WEIR_LIB  the library; by default the one of the build directory one is in.
# KEEP      set: what the programs printed is kept.
#
# The suites' packages are installed if they are missing, by root; what they need of
# Debian's sources comes from the machine's mirrors (sources.py: where it is kept).
# Exit status: 0 if nothing failed, 1 if something did, 2 for a wrong call.
set -u

here=$(cd "$(dirname "$0")" && pwd)
: "${WEIR_LIB:=$PWD/src/.libs/libweir.so}"
if [ ! -r "$WEIR_LIB" ]; then
	echo "run.sh: no library at $WEIR_LIB (set WEIR_LIB)" >&2
	exit 2
fi
# The runs natively are to be native, and all by the same settings.
unset LD_PRELOAD "${!STREAM_@}"
# A terminal's window and a user's settings are none of the suites' business.
export LC_ALL=C.UTF-8 TERM=dumb

bash "$here/../setup.sh" suites || exit 2
exec /usr/bin/python3 "$here/compare.py" "$WEIR_LIB" "$@" </dev/null
