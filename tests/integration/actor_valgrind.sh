#!/bin/sh
# The actor under valgrind: WEIR_ACTOR names this instead of it (make check-valgrind). What valgrind says goes to the
# actor's stderr, which has to be the same natively and preloaded. A thread that computes must not starve another.
exec valgrind -q --fair-sched=try --error-exitcode=99 --leak-check=full --trace-children=yes \
	--suppressions="$WEIR_SOURCE/tests/valgrind.supp" "$WEIR_BUILD/tests/integration/actor" "$@"
