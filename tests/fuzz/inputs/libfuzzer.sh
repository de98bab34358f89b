#!/bin/bash
# Builds the targets with clang, libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, and looks for inputs that
# break them. Without clang it does nothing.
#
#   tests/fuzz/inputs/libfuzzer.sh SECONDS [TARGET...]      SECONDS for each
#
# Works in ./fuzz: new inputs that reach more code go to fuzz/corpus/TARGET, one that breaks something is fuzz/crash-...
# To see that again: fuzz/TARGET FILE. To keep it: tests/fuzz/inputs/corpus/TARGET.
set -u

seconds=${1:?"libfuzzer.sh SECONDS [TARGET...]"}
shift
targets=("$@")
if [[ ${#targets[@]} -eq 0 ]]; then targets=(head settings region); fi
source=${WEIR_SOURCE:-$(cd "$(dirname "$0")/../../.." && pwd)}
inputs=$source/tests/fuzz/inputs
clang=${CLANG:-clang}
if ! "$clang" --version >/dev/null 2>&1; then
	echo "skip - libFuzzer: no clang"
	exit 77
fi

flags=(-O1 -g -D_GNU_SOURCE "-I$source/src" "-I$source/tests/unit" -ftls-model=initial-exec
	"-fsanitize=address,undefined" -fno-sanitize-recover=undefined)

build() {
	local floors target
	rm -rf fuzz/obj && mkdir -p fuzz/obj || return 1
	floors=("$source"/src/{base,count,pool,stream,waits,metrics}/*.c)
	(cd fuzz/obj && printf '%s\0' "${floors[@]}" |
		xargs -0 -P 2 -n 8 "$clang" "${flags[@]}" -fsanitize=fuzzer-no-link -c) || return 1
	ar rcs fuzz/obj/floors.a fuzz/obj/*.o || return 1
	for target in "${targets[@]}"; do
		local with=()
		case $target in
		region) with=("$source/tests/unit/noise.c") ;;
		settings) with=("$source/tests/unit/fake_sys.c") ;; # before the door to the kernel in the archive
		esac
		"$clang" "${flags[@]}" -fsanitize=fuzzer "$inputs/$target.c" ${with[@]+"${with[@]}"} \
			fuzz/obj/floors.a -o "fuzz/$target" || return 1
	done
}

if ! build; then
	echo "not ok - libFuzzer: the targets do not build"
	exit 1
fi
failed=0
for target in "${targets[@]}"; do
	mkdir -p "fuzz/corpus/$target"
	if "fuzz/$target" -max_total_time="$seconds" -timeout=10 -max_len=4096 -print_final_stats=1 \
		-artifact_prefix=fuzz/crash-"$target"- "fuzz/corpus/$target" "$inputs/corpus/$target" \
		>"fuzz/$target.log" 2>&1; then
		echo "ok - libFuzzer: $target, $(grep -o 'number_of_executed_units: .*' "fuzz/$target.log" |
			grep -o '[0-9]*') inputs"
	else
		tail -n 40 "fuzz/$target.log"
		echo "not ok - libFuzzer: $target"
		failed=1
	fi
done
exit $failed
