#!/bin/bash
# Which lines of the library the unit tests reach: builds it once more in ./coverage, runs them, and lists the files,
# the least covered first. A file's lines are marked in coverage/*.gcov. The floor interpose has no unit tests.
set -eu

source=${WEIR_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
mkdir -p coverage
cd coverage
"$source/configure" -q CFLAGS='-O1 -g --coverage'
make -s -j2
find . -name '*.gcda' -delete
make -s -k -j2 check-units || echo "coverage: not all tests passed" >&2
# From the files that say what was executed, to "percent lines file".
find src/*/.libs -name '*.gcda' ! -path 'src/interpose/*' -print0 | xargs -0 gcov -p |
	awk -F"[:%']" -v from="$source/src/" '
		/^File/ { file = index($2, from) == 1 ? substr($2, length(from) + 1) : "" }
		/^Lines executed/ && file ~ /\.c$/ {
			split($0, part, "of ")
			printf "%6.2f %% of %4d lines  %s\n", $2, part[2], file
			hit += $2 * part[2] / 100; all += part[2]; file = ""
		}
		END { if (all) printf "%6.2f %% of %4d lines\n", 100 * hit / all, all; exit !all }' | sort -n
