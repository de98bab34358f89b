#!/bin/bash
# What the built library shows to the world: it exports exactly the hooked names that this libc has, needs libc alone,
# and no floor below interpose calls a hooked name, by which the library would enter itself.
#
#   WEIR_LIB=.../libweir.so WEIR_BUILD=... tests/exports.sh
set -uo pipefail
export LC_ALL=C

source_dir=${WEIR_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
build=${WEIR_BUILD:-$source_dir/build}
lib=${WEIR_LIB:-$build/src/.libs/libweir.so}
list=$source_dir/src/libweir.sym
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT

nr=0
result() { # result STATUS TEXT [FILE with what is wrong]
	nr=$((nr + 1))
	if [[ $1 -eq 0 ]]; then
		echo "ok $nr - $2"
	else
		echo "not ok $nr - $2"
		if [[ -n ${3:-} ]]; then sed 's/^/#   /' "$3"; fi
	fi
}
skip() { # skip TEXT WHY
	nr=$((nr + 1))
	echo "ok $nr - $1 # SKIP $2"
}
empty() { [[ ! -s $1 ]]; }

echo "1..8"

sort -u "$list" | cmp -s - "$list"
result $? "src/libweir.sym is sorted, each name once"

# Only what libc.so.6 has can be hooked; a name it lacks is one of another version, not an error.
libc=$(ldd "$lib" | sed -n 's/.*libc\.so\.6 => \([^ ]*\).*/\1/p')
nm -D --defined-only "${libc:-/lib/x86_64-linux-gnu/libc.so.6}" | awk '{ sub(/@.*/, "", $3); print $3 }' |
	sort -u >"$work/libc"
nm -D --defined-only "$lib" | awk '{ sub(/@.*/, "", $3); print $3 }' | sort -u >"$work/exported"
sort -u "$list" | comm -12 - "$work/libc" >"$work/wanted"

comm -23 "$work/wanted" "$work/exported" >"$work/missing"
empty "$work/missing"
result $? "every hooked name is exported ($(wc -l <"$work/wanted"))" "$work/missing"

sort -u "$list" | comm -13 - "$work/exported" >"$work/extra"
empty "$work/extra"
result $? "nothing else is exported" "$work/extra"

comm -23 "$work/exported" "$work/libc" >"$work/foreign"
empty "$work/foreign"
result $? "nothing is exported that this libc lacks" "$work/foreign"

if [[ -n ${WEIR_SANITIZER:-} ]]; then
	skip "the library needs libc alone" "a sanitizer brings its own library"
else
	readelf -d "$lib" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
		grep -vE '^(libc\.so\.6|ld-linux.*\.so\.[0-9])$' >"$work/needed"
	empty "$work/needed"
	result $? "the library needs libc alone" "$work/needed"
fi

grep -c WEIR_FAULTS "$lib" >"$work/faults"
[[ $(<"$work/faults") -eq 0 ]]
result $? "nothing in it makes its calls fail, as tests/faults does" "$work/faults"

# base/sys (with sys_thread, its helper threads) and base/libc are what below interpose may reach for libc's own functions.
find "$build/src/base" "$build/src/count" "$build/src/pool" "$build/src/stream" "$build/src/waits" \
	"$build/src/metrics" -path '*/.libs/*.o' ! -path '*/base/.libs/*sys.o' ! -path '*/base/.libs/*sys_thread.o' \
	! -path '*/base/.libs/*libc.o' >"$work/objects"
if empty "$work/objects"; then
	echo "no objects under $build/src" >"$work/calls"
else
	xargs nm -A -u <"$work/objects" | awk '{ print $NF, $1 }' | sort >"$work/undefined"
	{ cat "$list"; printf '%s\n' malloc calloc realloc free __errno_location; } | sort -u |
		join - "$work/undefined" >"$work/calls"
fi
empty "$work/calls"
result $? "no floor below interpose calls a hooked name, malloc or errno" "$work/calls"

# Helper threads have no thread-local data of libc's (base/sys.h). So of libc nothing may be called below interpose but
# what has none, and what is called at the start of the process and by the program's own threads alone. __x_chk is what
# _FORTIFY_SOURCE makes of x, __stack_chk_fail the end of who wrote beyond a stack's guard, of which they have a copy.
cat >"$work/allowed" <<'END'
_GLOBAL_OFFSET_TABLE_
__stack_chk_fail
__libc_single_threaded
fnmatch
memchr
memcmp
memcpy
memmove
memset
program_invocation_short_name
pthread_key_create
pthread_setspecific
secure_getenv
strchr
strcmp
strcspn
strlen
strncmp
strncpy
strnlen
strrchr
END
if [[ -n ${WEIR_SANITIZER:-} ]]; then
	skip "helper threads use no thread-local data of libc's" "a sanitizer's are libc's threads"
else
	xargs nm --defined-only <"$work/objects" | awk 'NF == 3 { print $3 }' | sort -u >"$work/ours"
	nm --defined-only "$build"/src/base/.libs/{sys*,libc}.o | awk 'NF == 3 { print $3 }' >>"$work/ours"
	sed 's/.*/__&_chk/' "$work/allowed" >"$work/fortified"
	sort -u "$work/allowed" "$work/fortified" "$work/ours" | join -v 2 - "$work/undefined" | grep -vE '^__(u*divti3|aarch64_)' >"$work/local"
	empty "$work/local"
	result $? "helper threads use no thread-local data of libc's" "$work/local"
fi
