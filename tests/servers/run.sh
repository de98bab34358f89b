#!/bin/bash
# run.sh [NAME...]: real servers of Debian under the library, driven by real clients,
# with the metrics read while they run.
#
# WEIR_LIB  the library; by default the one of the build directory one is in.
#           "none" runs every case natively, which shows what the cases themselves
#           expect; the metrics are left out.
# KEEP      set: the cases' directories are kept.
#
# One line per case: "ok NAME - what was checked", "not ok NAME - why" with the ends of
# the logs as comments, or "skip NAME - why".  The last line counts.  Exit status: 0 if
# nothing failed, 1 if something did, 2 for a wrong call.
set -u

here=$(cd "$(dirname "$0")" && pwd)
limit=90
all=(mosquitto nginx redis memcached postgresql haproxy apache slapd sshd bind9
	tcl http_server socketserver node forking prefork daemon activated nginx_upgrade
	vsftpd rsync stunnel dovecot squid mariadb git apache_php webrick puma
	node_cluster java erlang replication
	company_malloc company_sanitizers company_identity company_php company_musl
	company_chromium
	figures causes snapshots noise endings prometheus)

if [ "$#" -eq 0 ]; then
	set -- "${all[@]}"
fi
for name in "$@"; do
	case " ${all[*]} " in
	*" $name "*) ;;
	*)
		echo "run.sh: no case $name; there are: ${all[*]}" >&2
		exit 2
		;;
	esac
done

: "${WEIR_LIB:=$PWD/src/.libs/libweir.so}"
scratch=$(mktemp -d "${TMPDIR:-/tmp}/weir-servers.XXXXXX") || exit 2
trap 'rm -rf "$scratch"' EXIT
if [ "$WEIR_LIB" != none ]; then
	if [ ! -r "$WEIR_LIB" ]; then
		echo "run.sh: no library at $WEIR_LIB (set WEIR_LIB)" >&2
		exit 2
	fi
	# Servers that drop their rights must still be able to read it.
	chmod 755 "$scratch"
	install -m 755 "$WEIR_LIB" "$scratch/libweir.so"
	WEIR_LIB=$scratch/libweir.so
fi
export WEIR_LIB

passed=0
failed=0
skipped=0
for name in "$@"; do
	began=$SECONDS
	CASE=$name /usr/bin/python3 "$here/supervise.py" "$limit" \
		bash "$here/$name.sh" >"$scratch/said" 2>&1 </dev/null
	status=$?
	# An interrupt ends the run, not just the case.
	[ "$status" -ne 130 ] || exit 130
	[ -z "${TIMES:-}" ] || echo "# $name took $((SECONDS - began)) s"
	cat "$scratch/said"
	case $status:$(grep -Em1 '^(ok|not ok|skip) ' "$scratch/said") in
	0:ok\ *) passed=$((passed + 1)) ;;
	0:skip\ *) skipped=$((skipped + 1)) ;;
	*:not\ ok\ *) failed=$((failed + 1)) ;;
	*)
		echo "not ok $name - ended with $status and without a verdict"
		failed=$((failed + 1))
		;;
	esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
