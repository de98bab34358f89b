#!/bin/bash
# PHP's sockets and ftp extensions, which it loads with RTLD_DEEPBIND: they pass the library
# by, and all is as it is natively.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need php vsftpd
need_root
php -r 'exit(function_exists("socket_create") && function_exists("ftp_connect")
	&& function_exists("pcntl_fork") ? 0 : 1);' || skip "PHP lacks an extension"
case_begin php
port=$(free_port) ftp=$(free_port)
mkdir -p "$tmp/root/in" "$tmp/empty"
chown ftp "$tmp/root/in"
cat >"$tmp/conf" <<END
listen=YES
listen_address=127.0.0.1
listen_port=$ftp
background=NO
anonymous_enable=YES
no_anon_password=YES
anon_root=$tmp/root
write_enable=YES
anon_upload_enable=YES
anon_other_write_enable=YES
anon_umask=022
secure_chroot_dir=$tmp/empty
seccomp_sandbox=NO
END
load_start vsftpd "$(command -v vsftpd)" "$tmp/conf"
daemon=${loads[0]%% *}
loads=()
within 10 port_open "$ftp" || fail "vsftpd does not listen"
server_start php "$here/server_php.php" "$port"
server_ready "$port"

load_python lines load_lines.py --port "$port" --clients 4 --least 2000
for number in 1 2 3; do
	exec 5<>"/dev/tcp/127.0.0.1/$port"
	echo "ftp $ftp" >&5
	read -r -t 20 line <&5 || fail "no answer about ftp"
	[ "$line" = "ftp right" ] || fail "round $number: $line"
	exec 5>&-
done
load_end
kill "$daemon"
wait "$daemon"

server_stop TERM 0
pass "$(load_figure lines messages) replies of 11 lines to 4 clients compared," \
	"15 files stored and fetched by the ftp extension"
