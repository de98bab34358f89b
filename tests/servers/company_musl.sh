#!/bin/bash
# The library and a program built by musl-gcc: another libc, with other headers.
# Functions are called by name, through company_run.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=company.sh disable=SC1091
here=$(cd "$(dirname "$0")" && pwd)
. "$here/company.sh"

need musl-gcc make
case_begin server
source=$(cd "$here/../.." && pwd)
[ -x "$source/configure" ] || skip "there is no configure"
# musl-gcc leaves out all of the system's headers, the kernel's as well.
mkdir "$tmp/kernel" "$tmp/build"
for directory in linux asm-generic asm; do
	for root in /usr/include "/usr/include/$(cc -print-multiarch)"; do
		[ ! -d "$root/$directory" ] || ln -s "$root/$directory" "$tmp/kernel/"
	done
done
headers="-isystem $tmp/kernel"
company_build server musl-gcc "$headers" || fail "server_company.c does not compile"
if preloaded; then
	cd "$tmp/build" || exit 1
	"$source/configure" -q --disable-dependency-tracking CC=musl-gcc CFLAGS=-O1 \
		CPPFLAGS="$headers" >"$tmp/log/configure" 2>&1 || fail "configure failed"
	make -s -j2 src/libweir.la >"$tmp/log/make" 2>&1 || fail "make failed"
	WEIR_LIB=$tmp/build/src/.libs/libweir.so
fi
with=()
documents() {
	preloaded || return 0
	within 10 test -S "$metrics_socket" || fail "no metrics socket"
	"$python" "$here/metrics.py" moving "$metrics_socket" || fail "no bytes counted"
	scrape "$tmp/scrape"
}
company_run "musl" "$tmp/server" documents
pass "both built by musl-gcc, $(load_figure lines messages) replies of 11 lines to" \
	"4 clients compared"
