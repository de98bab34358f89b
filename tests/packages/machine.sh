#!/bin/bash
# Boots this machine's own system once more, to try something on it: systemd is process 1 there, and what is installed,
# started or broken is gone afterwards.
#
#   tests/packages/machine.sh FILE... -- COMMAND...
#
# FILEs are copied into /weir-test, where COMMAND runs as root, in the unit weir-test.service. Shows what it says;
# exits as it does, or with 77 and the reason where no such system can be made.
#
# The root file system is an overlay: below it is the one of the machine, and all that is written goes to memory. Both
# are to be seen there, in /weir-below and /weir-above. The
# network is a loopback device of its own. Only what COMMAND needs is started, none of the machine's services.
set -u

if [[ ${WEIR_MACHINE:-} != inside ]]; then
	why=
	if [[ $EUID -ne 0 ]]; then
		why="must be run as root"
	elif ! command -v systemd-nspawn >/dev/null; then
		why="no systemd-nspawn (Debian: systemd-container)"
	elif ! why=$(unshare -m true 2>&1); then
		why=${why##*: }
		why="no mount namespace can be made here${why:+: $why}"
	fi
	if [[ -n $why ]]; then
		echo "$why"
		exit 77
	fi
	exec env WEIR_MACHINE=inside unshare -m -- bash "$0" "$@"
fi

files=()
while [[ $# -gt 0 && $1 != -- ]]; do
	files+=("$1")
	shift
done
shift

work=$(mktemp -d /tmp/weir-machine.XXXXXX) || exit 1
name=${work##*.}
cgroups=()
# shellcheck disable=SC2317 # called by the trap
finish() {
	local c
	for c in ${cgroups[@]+"${cgroups[@]}"}; do
		echo $$ >"${c%/*}/cgroup.procs"
		find "$c" -depth -type d -exec rmdir {} \;
	done
	umount -R "$work"
	rmdir "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP
unavailable() {
	echo "$1"
	exit 77
}

mount -t tmpfs -o mode=755 tmpfs "$work" || unavailable "no tmpfs can be mounted here"
mkdir "$work"/{above,work,root}
mount -t overlay -o "lowerdir=/,upperdir=$work/above,workdir=$work/work" overlay "$work/root" 2>/dev/null ||
	unavailable "no overlay can be mounted on this root"
root=$work/root
[[ -x $root/lib/systemd/systemd ]] || unavailable "this root has no systemd"

# Without a systemd that gives it a scope, nspawn takes the control group that it finds itself in, and leaves
# another one behind there.
manager=(--register=no)
if [[ ! -d /run/systemd/system ]]; then
	manager+=(--keep-unit)
	mount -t tmpfs tmpfs /run
	for c in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
		if [[ -w $c/cgroup.procs ]] && mkdir "$c/weir-$name" 2>/dev/null; then
			cgroups+=("$c/weir-$name")
			echo $$ >"$c/weir-$name/cgroup.procs"
		fi
	done
fi

mkdir "$root/weir-test"
cp -- ${files[@]+"${files[@]}"} "$root/weir-test" || exit 1
printf '%q ' "$@" >"$root/weir-test/command"
systemd-id128 new >"$root/etc/machine-id"
rm -f "$root/usr/sbin/policy-rc.d"
cat >"$root/etc/systemd/system/weir-test.service" <<'END'
[Unit]
FailureAction=poweroff
SuccessAction=poweroff
[Service]
Type=oneshot
WorkingDirectory=/weir-test
Environment=LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
ExecStart=/bin/bash -c 'bash ./command >said 2>&1; echo $? >status'
END
cat >"$root/etc/systemd/system/weir-test.target" <<'END'
[Unit]
Requires=weir-test.service
AllowIsolate=yes
END

timeout --kill-after=10 500 systemd-nspawn --quiet --directory="$root" --machine="weir-$name" "${manager[@]}" \
	--bind-ro=/:/weir-below:norbind --bind-ro="$work/above:/weir-above" --private-network \
	--link-journal=no --resolv-conf=off --timezone=off --boot -- --unit=weir-test.target \
	</dev/null >"$work/console" 2>&1
if [[ ! -e $root/weir-test/said ]]; then
	sed 's/^/# /' "$work/console"
	unavailable "no systemd can be booted here: $(tail -n 1 "$work/console")"
fi
cat "$root/weir-test/said"
exit "$(cat "$root/weir-test/status" || echo 1)"
