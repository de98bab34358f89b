#!/bin/bash
# Other preloaded libraries beside this one, in either order: allocators, and a clock that
# lies.
# shellcheck source-path=SCRIPTDIR source=company.sh disable=SC1091
here=$(cd "$(dirname "$0")" && pwd)
. "$here/company.sh"

need cc
case_begin server
company_build server cc || fail "server_company.c does not compile"
libraries=$(cc -print-multiarch 2>/dev/null)
libraries=/usr/lib/${libraries:-x86_64-linux-gnu}
with=() beside=()
for other in libjemalloc.so.2 libmimalloc.so.2 libtcmalloc_minimal.so.4 \
	faketime/libfaketime.so.1 faketime/libfaketimeMT.so.1; do
	[ -r "$libraries/$other" ] || continue
	beside+=("${other##*/}")
	with=()
	case $other in
	*faketime*) with=(env FAKETIME=-15d) ;;
	esac
	ahead="$libraries/$other "
	company_run "$other first" "$tmp/server"
	ahead=
	behind=" $libraries/$other"
	company_run "$other second" "$tmp/server"
	behind=
done
[ "${#beside[@]}" -gt 0 ] || skip "none of the libraries is installed"
pass "lines of 4 clients compared beside ${beside[*]}, in either order"
