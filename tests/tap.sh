#!/bin/bash
# Runs one test and makes TAP of what it says, for automake's TAP driver.
#
#   tests/tap.sh PROGRAM [ARG...]
#
# A test may print TAP (cmocka does), TAP without a plan, or nothing of the kind; then its exit status is the result:
# 0 passed, 77 skipped, anything else failed. Its time is bounded by WEIR_TEST_TIMEOUT seconds (240).
# WEIR_TEST_WRAP is put before compiled programs, as in WEIR_TEST_WRAP='valgrind -q'.
#
# Output goes to a file first: a process that a test left behind then holds a file open, not the pipe that make reads.
set -u

name=${*: -1}
wrap=()
if [[ $# -eq 1 && -n ${WEIR_TEST_WRAP:-} ]]; then
	read -ra wrap <<<"$WEIR_TEST_WRAP"
fi

out=$(mktemp) || exit 99
trap 'rm -f "$out"' EXIT
timeout --kill-after=10 "${WEIR_TEST_TIMEOUT:-240}" ${wrap[@]+"${wrap[@]}"} "$@" >"$out" </dev/null
status=$?

# cmocka 1.1.5 says "not ok" of a skipped test, which the driver counts as a failure.
sed -i 's/^not ok \([0-9]*\) # SKIP/ok \1 # SKIP/' "$out"
cat "$out"

nr_results=$(grep -cE '^(not )?ok\b' "$out")
if ! grep -qE '^1\.\.[0-9]+' "$out"; then
	if [[ $nr_results -gt 0 ]]; then
		echo "1..$nr_results"
	else
		case $status in
		0) echo "ok 1 - $name" ;;
		77) echo "ok 1 - $name # SKIP" ;;
		*) echo "not ok 1 - $name" ;;
		esac
		echo "1..1"
	fi
fi

case $status in
0 | 77) exit 0 ;;
124 | 137) echo "# $name: no end within ${WEIR_TEST_TIMEOUT:-240} seconds, or killed" ;;
*) echo "# $name: exit status $status" ;;
esac
# A failure that was reported is not reported twice; a bad end after good results is an error.
if [[ $nr_results -eq 0 ]] || grep -qE '^not ok\b' "$out"; then
	exit 0
fi
exit "$status"
