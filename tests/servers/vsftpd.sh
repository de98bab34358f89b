#!/bin/bash
# vsftpd: two processes for each login, a privileged one and one in a chroot.  They
# speak a protocol of one byte over a socketpair, look at commands with MSG_PEEK, and
# pass data connections to each other.  (Its seccomp filter is off: Debian 12's libc
# calls what it does not allow.)
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need vsftpd lftp
need_root
id ftp >/dev/null 2>&1 || skip "there is no user ftp"
case_begin vsftpd
port=$(free_port)
mkdir -p "$tmp/root/in" "$tmp/empty"
chown ftp "$tmp/root/in"
cat >"$tmp/conf" <<END
listen=YES
listen_address=127.0.0.1
listen_port=$port
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root=$tmp/root
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_umask=022
connect_from_port_20=YES
secure_chroot_dir=$tmp/empty
seccomp_sandbox=NO
isolate_network=YES
ftp_username=ftp
xferlog_enable=YES
vsftpd_log_file=$tmp/log/vsftpd
END
server_start "$(command -v vsftpd)" "$tmp/conf"
server_ready "$port"

# The process that talks to strangers has a limit of no process, and so of no thread.
expected=thread
load_python ftp load_ftp.py --port "$port" --clients 4 --least 200 --cwd in
metrics_during
load_end
metrics_pid

# A tree there and back by two connections at once, the configuration read again.
make_files "$tmp/tree"
load_python again load_ftp.py --port "$port" --clients 3 --least 60 --cwd in
for mode in true false; do
	lftp -c "set net:timeout 10; set net:max-retries 2; set ftp:passive-mode $mode
		open -u anonymous,x 127.0.0.1:$port
		mirror -R -P 2 $tmp/tree in/tree; mirror -P 2 in/tree $tmp/back.$mode
		rm -r in/tree" >"$tmp/log/lftp.$mode" 2>&1 ||
		fail "lftp: $(tail -n 1 "$tmp/log/lftp.$mode")"
	diff -r "$tmp/tree" "$tmp/back.$mode" || fail "lftp brought another tree"
	kill -HUP "$server_pid" || fail "the server is gone"
done
load_end

# It does not handle the signal: its metrics socket stays, and nobody answers there.
kill -TERM "$server_pid" || fail "the server is gone before its SIGTERM"
within 15 gone "$server_pid" || fail "the server does not end"
wait "$server_pid"
[ "$?" = 143 ] || fail "the server ended with $?, natively with 143"
pass "$(load_figure ftp messages) files of 4 clients stored, fetched and appended to," \
	"$(amount "$(load_figure ftp moved)"), passive and active, a tree there and back" \
	"by lftp, 2 reloads under $(load_figure again messages) files"
