#!/bin/bash
# run.sh [NAME...]: breaks the library in the ways that list.txt names, one at a time, and shows which test sees each.
#
# The sources are copied and built apart: the tree they come from, WEIR_SOURCE or the one that this script lies in, is
# only read. CONFIGURE holds arguments for its configure.
#
# First the tests that list.txt names run with nothing broken: who fails then would catch everything. Of each mutation
# the tests named for it run first, and if they see nothing, all of make check. A test that fails has to fail again:
# one that a busy machine has upset proves nothing.
#
# One line per mutation: "ok NAME - caught by TEST: CASE", "not ok NAME - survived", or "not ok NAME - why" where the
# text is no longer there or the broken library does not build. The last line counts. Exit status: 0 all caught,
# 1 not all, 2 nothing can be told.
set -u

here=$(cd "$(dirname "$0")" && pwd)
list=$here/list.txt
source=${WEIR_SOURCE:-$(cd "$here/../.." && pwd)}
read -ra configure_args <<<"${CONFIGURE:-}"
export CMOCKA_MESSAGE_OUTPUT=TAP

die() {
	echo "run.sh: $1" >&2
	exit 2
}

# ---- the list ----

names=()
declare -A files tests olds news

read_list() {
	local name='' line nr=0
	while IFS= read -r line || [[ -n $line ]]; do
		nr=$((nr + 1))
		case $line in
		'' | '#'*) ;;
		'mutation '*)
			name=${line#mutation }
			[[ -z ${files[$name]+x} ]] || die "$list:$nr: a second $name"
			names+=("$name")
			files[$name]='' tests[$name]='' olds[$name]='' news[$name]=''
			;;
		'file '*) files[$name]=${line#file } ;;
		'tests '*) tests[$name]=${line#tests } ;;
		'-'*) olds[$name]+=${line#-}$'\n' ;;
		'+'*) news[$name]+=${line#+}$'\n' ;;
		' '*)
			olds[$name]+=${line# }$'\n'
			news[$name]+=${line# }$'\n'
			;;
		*) die "$list:$nr: neither a field nor a line of text: $line" ;;
		esac
	done <"$list"
}

# Only the mutations that were asked for.
choose() {
	local name
	for name in "$@"; do
		[[ -n ${files[$name]+x} ]] || die "no mutation $name; there are: ${names[*]}"
	done
	names=("$@")
}

tests_of() {
	local name
	for name in "$@"; do
		tr ' ' '\n' <<<"${tests[$name]}"
	done | LC_ALL=C sort -u
}

# ---- one copy of the sources, built once and then again in part ----

copy() {
	scratch=$(mktemp -d "${TMPDIR:-/tmp}/weir-mutations.XXXXXX") || exit 2
	trap 'rm -rf "$scratch"' EXIT
	trap 'exit 2' INT TERM
	mkdir "$scratch/weir" "$scratch/build" || exit 2
	tar -C "$source" -cf - --exclude=.git --exclude=./build --exclude='./build-[!a]*' --exclude=.libs \
		--exclude=.deps --exclude='*.o' --exclude='*.lo' --exclude=./config.status . |
		tar -C "$scratch/weir" -xf - || die "cannot copy $source"
}

configure() {
	if [[ ! -x $scratch/weir/configure ]]; then
		(cd "$scratch/weir" && autoreconf -fi) >"$scratch/log" 2>&1 ||
			die "autoreconf: $(tail -n 1 "$scratch/log")"
	fi
	"$scratch/weir/configure" --quiet ${configure_args[@]+"${configure_args[@]}"} >"$scratch/log" 2>&1 ||
		die "configure: $(tail -n 1 "$scratch/log")"
}

# The library and these tests, with the programs that they start.
build() {
	local test targets=(src/libweir.la)
	for test in "$@"; do
		targets+=("$test")
		case $test in
		tests/integration/*) targets+=(tests/integration/actor tests/integration/libbehind.la) ;;
		tests/fuzz/*) targets+=(tests/fuzz/reader) ;;
		esac
	done
	make -j2 "${targets[@]}" >"$scratch/log" 2>&1
}

# ---- running tests ----

# Prints the first case of a test that fails, or how the test ended; nothing if all went well.
failure() {
	local status said
	bash "$scratch/weir/tests/tap.sh" "./$1" >"$scratch/tap" 2>&1
	status=$?
	said=$(sed -n 's/^not ok [0-9]* *-* *//p' "$scratch/tap" | head -n 1)
	if [[ -z $said && $status -ne 0 ]]; then
		said=$(tail -n 1 "$scratch/tap")
	fi
	echo "$said"
}

# Sets `caught` to the first of the tests that fails, and fails again.
caught_by() {
	local test said
	caught=
	for test in "$@"; do
		said=$(failure "$test")
		if [[ -n $said && -n $(failure "$test") ]]; then
			caught="$test: $said"
			return 0
		fi
	done
	return 1
}

# The same of all that make check runs.
caught_by_any() {
	local failed
	make -j2 -k check >"$scratch/check" 2>&1
	mapfile -t failed < <(sed -nE 's/^(FAIL|ERROR): *([^ ]+).*/\2/p' "$scratch/check" | grep / | LC_ALL=C sort -u)
	caught_by ${failed[@]+"${failed[@]}"}
}

# ---- mutations ----

# Replaces the text, which has to be there once. False: `why`.
mutate() {
	local name=$1 old=${olds[$1]} file=$scratch/weir/${files[$1]} text rest
	if [[ ! -f $file ]]; then
		why="there is no ${files[$name]} any more"
		return 1
	fi
	text=$(<"$file")$'\n'
	rest=${text#*"$old"}
	if [[ -z $old || $rest == "$text" ]]; then
		why="its text is no longer in ${files[$name]}"
		return 1
	fi
	if [[ ${rest#*"$old"} != "$rest" ]]; then
		why="its text is more than once in ${files[$name]}"
		return 1
	fi
	cp "$file" "$scratch/whole"
	printf '%s' "${text%%"$old"*}${news[$name]}$rest" >"$file"
}

# A file written now is newer than what was made of it.
mend() {
	cat "$scratch/whole" >"$scratch/weir/${files[$1]}"
}

not_ok() {
	echo "not ok $1 - $2"
	bad=$((bad + 1))
}

# Breaks the copy, and says who saw it.
try() {
	local name=$1 start=$SECONDS test
	read -ra test <<<"${tests[$name]}"
	mutate "$name"
	if ! build "${test[@]}"; then
		not_ok "$name" "does not build: $(grep -m 1 error "$scratch/log")"
	elif caught_by "${test[@]}" || caught_by_any; then
		echo "ok $name - caught by $caught ($((SECONDS - start)) s)"
	else
		not_ok "$name" "survived ($((SECONDS - start)) s)"
	fi
	mend "$name"
}

# Says at once which of them the sources have no place for any more, and leaves the others.
check_texts() {
	local name there=()
	for name in "${names[@]}"; do
		if mutate "$name"; then
			mend "$name"
			there+=("$name")
		else
			not_ok "$name" "$why"
		fi
	done
	names=(${there[@]+"${there[@]}"})
}

read_list
if [[ $# -gt 0 ]]; then
	choose "$@"
fi
bad=0
nr=${#names[@]}
copy
check_texts
cd "$scratch/build" || exit 2
configure
mapfile -t all < <(tests_of "${names[@]}")
build "${all[@]}" || die "does not build with nothing broken: $(grep -m 1 error "$scratch/log")"
# Where the tests look for the library and for their programs.
export WEIR_LIB=$scratch/build/src/.libs/libweir.so WEIR_BUILD=$scratch/build WEIR_SOURCE=$scratch/weir
if caught_by "${all[@]}"; then
	die "fails with nothing broken: $caught"
fi
echo "# built, and nothing fails unbroken ($SECONDS s); ${#names[@]} mutations"
for name in "${names[@]}"; do
	try "$name"
done
echo "# $((nr - bad)) of $nr mutations caught in $SECONDS s"
[[ $bad -eq 0 ]]
