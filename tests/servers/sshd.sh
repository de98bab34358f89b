#!/bin/bash
# sshd as root: it re-executes itself for each connection, and a seccomp filter kills
# the child that talks to strangers when it makes a system call that sshd did not.
# Functions are called by name, through within and load_start.
# What is in single quotes is for the shell at the other end.
# shellcheck disable=SC2317,SC2016
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need sshd ssh scp sftp ssh-keygen
need_root
case_begin sshd
port=$(free_port)
[ -d /run/sshd ] || mkdir -m 755 /run/sshd
for file in host key; do
	ssh-keygen -q -t ed25519 -N '' -f "$tmp/$file" || fail "ssh-keygen failed"
done
cat >"$tmp/conf" <<END
Port $port
ListenAddress 127.0.0.1
HostKey $tmp/host
PidFile none
AuthorizedKeysFile $tmp/key.pub
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
UseDNS no
MaxStartups 100
Subsystem sftp internal-sftp
LogLevel VERBOSE
END
options=(-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o ConnectTimeout=10
	-o "UserKnownHostsFile=$tmp/known" -o LogLevel=ERROR -i "$tmp/key")
login() {
	timeout 20 ssh "${options[@]}" -p "$port" root@127.0.0.1 "$@"
}
server_start "$(command -v sshd)" -D -e -f "$tmp/conf"
server_ready "$port"

# Each connection's sshd is a program of its own that inherits its socket over an exec,
# and so a family of its own; the one looked at here is the listening process's.

# The sandbox is in force before anybody has said who they are.
exec 5<>"/dev/tcp/127.0.0.1/$port"
printf 'SSH-2.0-probe\r\n' >&5
sandboxed() {
	local pid

	# The sandboxed process is the server's grandchild, or further down.
	for pid in $(pgrep -f '^sshd: '); do
		grep -qx 'Seccomp:	2' "/proc/$pid/status" || continue
		while [ "$pid" -gt 1 ]; do
			pid=$(awk '$1 == "PPid:" { print $2 }' "/proc/$pid/status")
			[ "$pid" != "$server_pid" ] || return 0
		done
	done
	return 1
}
within 10 sandboxed || fail "no process of the server is under seccomp"
exec 5>&-

[ "$(login echo "it says \$((6 * 7))")" = "it says 42" ] || fail "the login fails"
[ "$(login 'echo ${LD_PRELOAD:-none}')" = none ] ||
	fail "the session inherits LD_PRELOAD"

# 16 MiB to the server and back, while other sessions talk in small pieces.
head -c 16777216 /dev/urandom >"$tmp/big"
wanted=$(sha256sum <"$tmp/big")
there_and_back() {
	local round=0

	while [ ! -e "$tmp/stop" ] || [ "$round" -lt 1 ]; do
		[ "$(login cat <"$tmp/big" | sha256sum)" = "$wanted" ] || {
			echo "16 MiB through cat came back changed" >&2
			return 1
		}
		round=$((round + 1))
	done
	echo "{\"rounds\": $round}"
}
chat() {
	"$python" -c 'for i in range(4000): print("line", i, flush=True)' |
		login 'while read -r line; do echo "$line"; done' >"$tmp/log/chat.$1"
}
short() {
	local round=0

	while [ ! -e "$tmp/stop" ] || [ "$round" -lt 3 ]; do
		[ "$(login "echo $round")" = "$round" ] || {
			echo "a short session failed" >&2
			return 1
		}
		round=$((round + 1))
	done
	echo "{\"rounds\": $round}"
}
load_start cat there_and_back
load_start chat1 chat 1
load_start chat2 chat 2
load_start short short
metrics_during
load_end
for number in 1 2; do
	seq -f 'line %g' 0 3999 | cmp -s - "$tmp/log/chat.$number" ||
		fail "session $number did not echo its lines"
done
metrics_pid

copy() {
	timeout 20 scp -q "${options[@]}" -P "$port" "$@" || fail "scp failed"
}
copy "$tmp/big" "root@127.0.0.1:$tmp/up"
copy "root@127.0.0.1:$tmp/up" "$tmp/down"
[ "$(sha256sum <"$tmp/down")" = "$wanted" ] || fail "scp brought another file"
rm "$tmp/up" "$tmp/down"
# sftp in requests of odd sizes, and many files.
mkdir "$tmp/many"
for number in {1..60}; do
	head -c $((number * 997)) "$tmp/big" >"$tmp/many/f$number"
done
timeout 30 sftp -q "${options[@]}" -P "$port" -B 7001 -R 9 -b - root@127.0.0.1 \
	>"$tmp/log/sftp" 2>&1 <<END || fail "sftp: $(tail -n 1 "$tmp/log/sftp")"
put $tmp/big $tmp/up
get $tmp/up $tmp/down
mkdir $tmp/there
put -r $tmp/many $tmp/there
rename $tmp/there/many $tmp/there/renamed
get -r $tmp/there/renamed $tmp/back
ls -l $tmp/there/renamed
END
[ "$(sha256sum <"$tmp/down")" = "$wanted" ] || fail "sftp brought another file"
diff -r "$tmp/many" "$tmp/back" || fail "sftp brought other files"
for number in 1 2 3 4; do
	load_start "login$number" login 'echo done; exit 3'
done
touch "$tmp/stop"
for entry in "${loads[@]}"; do
	wait "${entry%% *}"
	[ "$?" = 3 ] || fail "a session's status is lost"
done

server_stop TERM 0
pass "sandboxed before the login, logins with a key, 16 MiB there and back" \
	"$(load_figure cat rounds) times by hash, by scp and sftp," \
	"$(load_figure short rounds) short sessions, 8000 lines echoed"
