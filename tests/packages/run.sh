#!/bin/bash
# Debian's packages: built from what a tarball has, looked at by lintian, and used in a system that is thrown away.
#
#   make check-packages
#
# The packages and the logs are in the build directory, under packages/. One line per test: ok, not ok, skip.
set -u
export LC_ALL=C.UTF-8
unset MAKEFLAGS MAKELEVEL MFLAGS

source_dir=${WEIR_SOURCE:?}
packages=${WEIR_BUILD:?}/packages

for tool in dpkg-buildpackage dh lintian; do
	if ! command -v $tool >/dev/null; then
		echo "skip packages - no $tool (tests/setup.sh test)"
		exit 0
	fi
done

if ! (cd "$packages/weir" && dpkg-buildpackage -us -uc -b -j"$(nproc)") >"$packages/build.log" 2>&1; then
	echo "not ok packages - they do not build"
	tail -n 30 "$packages/build.log" | sed 's/^/# /'
	exit 1
fi
echo "ok packages - they build"

failed=0
if lintian --allow-root --fail-on error,warning "$packages"/*.changes >"$packages/lintian.log" 2>&1; then
	echo "ok packages - lintian finds neither errors nor warnings"
else
	echo "not ok packages - lintian"
	sed 's/^/# /' "$packages/lintian.log"
	failed=1
fi

mkdir "$packages/units"
for d in "$source_dir"/examples/systemd/*.service.d; do
	cp "$d/weir.conf" "$packages/units/$(basename "$d" .service.d).conf"
done
find "$packages" -name '*-dbgsym_*.deb' -delete
bash "$source_dir/tests/packages/machine.sh" "$packages"/*.deb "$packages"/units/* \
	"$source_dir"/tests/{packages/installed.py,cli/lib.py,cli/server.py,servers/wire.py,servers/load_kv.py} -- \
	env WEIR_COMMAND=/usr/bin/weir "WEIR_LIB=/usr/\$LIB/weir/libweir.so" /usr/bin/python3 installed.py \
	>"$packages/installed.log" 2>&1
case $? in
0) cat "$packages/installed.log" ;;
77) echo "skip packages - installed and used: $(tail -n 1 "$packages/installed.log")" ;;
*)
	cat "$packages/installed.log"
	failed=1
	;;
esac
exit $failed
