#!/bin/bash
# Installs what building and testing need from Debian's packages.
#
#   tests/setup.sh build      compiler, autotools, cmocka, what the weir command needs, and python3, for the README's
#                             first server
#   tests/setup.sh demo-http  what examples/demo.sh builds and measures with; likewise
#                             demo-memcached and demo-mosquitto, each with its server
#   tests/setup.sh test       that, and every real server, client and checker of tests/run.sh
#   tests/setup.sh suites     what tests/suites/run.sh runs; not part of tests/run.sh
#
# Does nothing where all is there. Otherwise needs root or sudo; without either it says what to install and exits 1.
# No service that it installs is started now or at the next boot: the tests start their own, on their own ports.
set -euo pipefail

tool_packages=(autoconf automake build-essential libtool pkg-config)
build_packages=("${tool_packages[@]}" libcmocka-dev libjansson-dev libmicrohttpd-dev
	libncurses-dev python3)
demo_packages=("${tool_packages[@]}" curl python3 strace)
test_packages=(
	"${build_packages[@]}" "${demo_packages[@]}"
	apache2 apache2-utils bash-completion bind9 bind9-dnsutils catatonit
	chromium chromium-driver clang clang-format clang-tidy cppcheck
	debhelper dovecot-imapd erlang-inets git gnuplot-nox haproxy iproute2 ldap-utils lftp libapache2-mod-php
	libclang-rt-dev libecj-java libfaketime libjemalloc2 libmimalloc2.0 libtcmalloc-minimal4
	lintian man-db mandoc mariadb-client-core mariadb-server-core memcached mosquitto mosquitto-clients
	musl-tools nginx-light nodejs openjdk-17-jre-headless openssh-client
	openssh-server openssl php-cli postgresql postgresql-contrib procps prometheus
	podman puma python3-kubernetes python3-prometheus-client python3-pyte python3-yaml redis-server
	redis-tools rsync ruby ruby-webrick runc shellcheck slapd socat squid stunnel4 systemd
	systemd-container tcl valgrind vsftpd wrk zsh
)

suites_packages=(dpkg-dev gcc haproxy libc6-dev libio-socket-ssl-perl libpython3.11-testsuite memcached perl
	postgresql procps redis-server redis-tools stress-ng tcl varnish xz-utils)

case ${1:-} in
build) packages=("${build_packages[@]}") ;;
demo-http) packages=("${demo_packages[@]}") ;;
demo-memcached) packages=("${demo_packages[@]}" memcached) ;;
demo-mosquitto) packages=("${demo_packages[@]}" mosquitto) ;;
test) packages=("${test_packages[@]}") ;;
suites) packages=("${suites_packages[@]}") ;;
*)
	sed -n '2,12p' "$0" >&2
	exit 2
	;;
esac

missing() {
	local p
	for p in $(printf '%s\n' "${packages[@]}" | sort -u); do
		# Not the exit status: a package that was removed is still known.
		if [[ $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) != installed ]]; then
			echo "$p"
		fi
	done
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "setup: this is no Debian. Please install what corresponds to these packages:" >&2
	echo "  ${packages[*]}" >&2
	exit 1
fi
mapfile -t wanted < <(missing)
if [[ ${#wanted[@]} -eq 0 ]]; then
	exit 0
fi

as_root=()
if [[ $EUID -ne 0 ]]; then
	if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; then
		as_root=(sudo)
	else
		echo "setup: needs root or sudo to install packages. Please run as root:" >&2
		echo "  apt-get install --no-install-recommends ${wanted[*]}" >&2
		exit 1
	fi
fi
root() { ${as_root[@]+"${as_root[@]}"} "$@"; }

# Debian's way to say that a package's service shall not be started: this file, exit status 101.
policy=/usr/sbin/policy-rc.d
policy_is_ours=
log=$(mktemp)
finish() {
	if [[ -n $policy_is_ours ]]; then root rm -f "$policy"; fi
	rm -f "$log"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP
if [[ ! -e $policy ]]; then
	policy_is_ours=yes
	printf '#!/bin/sh\nexit 101\n' | root tee "$policy" >/dev/null
	root chmod 755 "$policy"
fi

apt() {
	root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -qq -y \
		-o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 "$@" >>"$log" 2>&1 </dev/null
}
enabled_units() {
	if command -v systemctl >/dev/null; then
		systemctl list-unit-files --state=enabled --no-legend 2>/dev/null | awk '{ print $1 }' | sort
	fi
}

echo "setup: installing ${#wanted[@]} packages: ${wanted[*]}"
enabled_before=$(enabled_units)
if ! apt update || ! apt install --no-install-recommends "${wanted[@]}"; then
	tail -n 20 "$log" >&2
	echo "setup: apt-get failed. By hand, as root:" >&2
	echo "  apt-get update && apt-get install --no-install-recommends ${wanted[*]}" >&2
	exit 1
fi
mapfile -t enabled_now < <(comm -13 <(echo "$enabled_before") <(enabled_units) | grep -E '\.(service|socket)$' || true)
if [[ ${#enabled_now[@]} -gt 0 ]]; then
	echo "setup: leaving these services off: ${enabled_now[*]}"
	root systemctl disable --quiet "${enabled_now[@]}" >/dev/null 2>&1 || true
fi

mapfile -t wanted < <(missing)
if [[ ${#wanted[@]} -gt 0 ]]; then
	echo "setup: still missing: ${wanted[*]}" >&2
	exit 1
fi
