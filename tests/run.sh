#!/bin/bash
# Builds weir and runs every test there is, real servers included. On a fresh Debian 12 this is the only command needed.
#
#   tests/run.sh               builds in ./build; BUILD_DIR=... somewhere else
#
# The last line is always "N passed, M failed, K skipped", counted by test case; the exit status is 0 when M is 0.
# Logs stay in the build directory under run/.
set -u
cd "$(dirname "$0")/.." || exit 1
source_dir=$PWD
build=${BUILD_DIR:-build}
mkdir -p "$build/run" || exit 1
build=$(cd "$build" && pwd)
logs=$build/run
rm -f "$logs"/*.log
export LC_ALL=C.UTF-8
unset LD_PRELOAD "${!STREAM_@}"

passed=0 failed=0 skipped=0
job=
start=$SECONDS
say() { printf '[%4d s] %s\n' $((SECONDS - start)) "$*"; }
finish() {
	say "logs are in $logs"
	echo "$passed passed, $failed failed, $skipped skipped"
	if [[ $failed -eq 0 && $passed -gt 0 ]]; then exit 0; fi
	exit 1
}
# shellcheck disable=SC2317 # called by the trap
interrupted() {
	if [[ -n $job ]]; then kill "$job" 2>/dev/null; fi
	failed=$((failed + 1))
	say "interrupted"
	finish
}
trap interrupted INT TERM HUP

# step NAME SECONDS COMMAND...   Runs it into NAME.log, with a sign of life every 20 seconds. Returns its status.
step() {
	local name=$1 limit=$2 status=0 since=$SECONDS
	shift 2
	say "$name"
	timeout --kill-after=20 "$limit" "$@" >"$logs/$name.log" 2>&1 </dev/null &
	job=$!
	while kill -0 $job 2>/dev/null; do
		sleep 1
		if (((SECONDS - since) % 20 == 19)) && kill -0 $job 2>/dev/null; then
			say "$name: $(grep -v '^$' "$logs/$name.log" | tail -n 1 | cut -c 1-100)"
		fi
	done
	wait $job || status=$?
	job=
	if [[ $status -eq 124 || $status -eq 137 ]]; then
		echo "not within $limit seconds" >>"$logs/$name.log"
	fi
	return $status
}

# must NAME SECONDS COMMAND...   A step without which nothing else makes sense: its failure ends the run.
must() {
	local name=$1
	if ! step "$@"; then
		tail -n 40 "$logs/$name.log"
		say "$name FAILED"
		failed=$((failed + 1))
		finish
	fi
}

# one NAME SECONDS COMMAND...    A step that is one test.
one() {
	local name=$1
	if step "$@"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		tail -n 40 "$logs/$name.log"
		say "$name FAILED"
	fi
}

# lines NAME SECONDS COMMAND...  A step that prints "ok ...", "not ok ..." and "skip ..." lines, one a test.
lines() {
	local name=$1 status=0 ok bad skip
	step "$@" || status=$?
	skip=$(grep -ciE '^((not )?ok\b.*# skip|skip )' "$logs/$name.log")
	bad=$(grep -iE '^not ok\b' "$logs/$name.log" | grep -civ '# skip')
	ok=$(grep -iE '^ok\b' "$logs/$name.log" | grep -civ '# skip')
	# A bad end that no line explains, or no line at all, is a failure of its own.
	if [[ $bad -eq 0 ]] && [[ $status -ne 0 || $((ok + skip)) -eq 0 ]]; then
		bad=1
	fi
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
	if [[ $bad -gt 0 ]]; then
		grep -v '^ok' "$logs/$name.log" | tail -n 60
		say "$name: $bad FAILED, $ok passed"
	fi
}

# check NAME SECONDS DIRECTORY COMMAND...   A step that leaves the results of automake's harness in DIRECTORY/tests: counts
# them, and shows the logs of the tests that failed.
check() {
	local name=$1 limit=$2 dir=$3 status=0 ok bad skip trs
	shift 3
	find "$dir/tests" -name '*.trs' -delete 2>/dev/null
	step "$name" "$limit" "$@" || status=$?
	mapfile -t trs < <(find "$dir/tests" -name '*.trs' 2>/dev/null | sort)
	if [[ ${#trs[@]} -eq 0 ]]; then
		failed=$((failed + 1))
		tail -n 40 "$logs/$name.log"
		say "$name FAILED before any test"
		return
	fi
	ok=$(cat "${trs[@]}" | grep -cE '^:test-result: (PASS|XFAIL)')
	bad=$(cat "${trs[@]}" | grep -cE '^:test-result: (FAIL|ERROR|XPASS)')
	skip=$(cat "${trs[@]}" | grep -cE '^:test-result: SKIP')
	if [[ $bad -eq 0 && $status -ne 0 ]]; then
		bad=1
		tail -n 40 "$logs/$name.log"
	fi
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
	local t
	for t in "${trs[@]}"; do
		if grep -qE '^:test-result: (FAIL|ERROR|XPASS)' "$t"; then
			echo "---- ${t#"$dir"/}"
			grep -E '^:test-result: (FAIL|ERROR|XPASS)' "$t"
			tail -n 60 "${t%.trs}.log"
		fi
	done
	if [[ $bad -gt 0 ]]; then say "$name: $bad FAILED, $ok passed"; fi
}

say "weir: all tests, on $(uname -sr), $(nproc) processors"
must setup 900 bash tests/setup.sh test
must autoreconf 120 autoreconf -fi
cd "$build" || exit 1
must configure 120 "$source_dir/configure" --enable-werror
must build 600 make -j2

check check 900 "$build" make -k -j2 check

one bench-programs 120 make -s -j2 bench-programs
check address 600 "$build/address" bash "$source_dir/tests/sanitizers.sh" address
check thread 420 "$build/thread" bash "$source_dir/tests/sanitizers.sh" thread
# A look: make check-valgrind has them all, make fuzz looks for longer.
check valgrind 240 "$build" make -k -j2 check-valgrind-quick
lines fuzz 240 make -s fuzz FUZZ_SECONDS=5

check examples 300 "$build" make -k -j2 check-examples

lines check-headers 120 make -s check-headers
lines check-servers 1200 make -s check-servers
lines check-packages 900 make -s check-packages
lines lint 900 make -s -k lint
# The tarball's own check: enough of the tests to know that it is whole; all of them ran above.
one distcheck 300 make -s -j2 distcheck TESTS=tests/exports.sh
finish
