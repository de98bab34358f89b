#!/bin/bash
# Programs that sanitizers watch, of gcc and of clang: what the library does on their
# behalf is nothing that they complain of.
# Functions are called by name, through company_run.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=company.sh disable=SC1091
here=$(cd "$(dirname "$0")" && pwd)
. "$here/company.sh"

need gcc
case_begin server
with=() done=()
# Helper threads run below the sanitizers' feet: all that they do is done once.
documents() {
	preloaded || return 0
	within 10 test -S "$metrics_socket" || fail "no metrics socket"
	"$python" "$here/metrics.py" moving "$metrics_socket" || fail "no bytes counted"
	scrape "$tmp/scrape.$compiler-$kind"
}
for compiler in gcc clang; do
	command -v "$compiler" >/dev/null || continue
	for kind in address thread undefined; do
		company_build "$compiler-$kind" "$compiler" "-fsanitize=$kind" \
			-fno-omit-frame-pointer || continue
		# A sanitizer's own library wants to be first.
		ahead=
		runtime=$(ldd "$tmp/$compiler-$kind" |
			sed -n 's/.*=> \(.*lib[a-z]*san\.so[^ ]*\).*/\1/p' | head -n 1)
		ahead=${runtime:+$runtime }
		company_run "$compiler's $kind" "$tmp/$compiler-$kind" documents
		done+=("$compiler-$kind")
	done
done
[ "${#done[@]}" -gt 0 ] || skip "no compiler has a sanitizer"
pass "lines of 4 clients compared in ${done[*]}"
