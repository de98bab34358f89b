#!/bin/bash
# A server that takes another identity, unshares its name spaces, forks a child that takes
# an identity, and runs set-user-ID programs, while its threads write and the keeper runs.
# Functions are called by name, through company_run.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=company.sh disable=SC1091
here=$(cd "$(dirname "$0")" && pwd)
. "$here/company.sh"

need cc
need_root
case_begin server
company_build server cc || fail "server_company.c does not compile"
with=()
nobody=$(id -u nobody)
cat >"$tmp/helper.c" <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int
main(void)
{
	const char *preload = getenv("LD_PRELOAD");

	printf("helper %u %u %s\n", getuid(), geteuid(), preload ? "preload" : "none");
	return 7;
}
END
cc -o "$tmp/helper" "$tmp/helper.c" || fail "helper.c does not compile"
chmod 4755 "$tmp/helper"
expect() {
	local got

	got=$(tell "$1" "$3")
	[ "$got" = "$2" ] || fail "$1: $got instead of $2"
}

changes() {
	local number

	expect apart "apart 0;" apart
	for number in 1 2 3; do
		expect "child $nobody" \
			"a child became 0 $nobody $nobody $nobody;ended 0;" ended
		expect "run echo \$((6 * 7)); exit 3" "42;status 768;" status
	done
	expect "become $nobody" "became 0 $nobody $nobody $nobody;" became
	# Secure execution: the dynamic linker takes the preload out of its environment.
	expect "run $tmp/helper 2>&1" "helper $nobody 0 none;status 1792;" status
	expect "become 0" "became 1 $nobody $nobody $nobody;" became
	expect "child $nobody" "a child became 1 $nobody $nobody $nobody;ended 0;" ended
	# What these connections moved besides.
	slack=4096
}
company_run "another identity" "$tmp/server" changes
pass "three identities taken, a name space, a set-user-ID helper and 6 more children," \
	"under the lines of 4 clients"
