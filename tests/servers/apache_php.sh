#!/bin/bash
# Apache prefork with mod_php: a process for each connection, PHP writes its page in
# pieces and flushes them; its own sockets; graceful restarts under load.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need apache2 ab
need_root
case_begin apache2
modules=/usr/lib/apache2/modules
php=$(find "$modules" -name 'libphp*.so' | head -n 1)
[ -n "$php" ] || skip "mod_php is not installed"
port=$(free_port)
make_files "$tmp/www"
head -c 4194304 /dev/urandom >"$tmp/big"
cat >"$tmp/page.php" <<'END'
<?php
/* /NAME: the file in pieces; POST /hash: the SHA-256 of what was sent. */
$name = basename($_SERVER['REQUEST_URI']);
if ($name === 'hash') {
	$sum = hash('sha256', file_get_contents('php://input'));
	header('Content-Length: ' . strlen($sum));
	echo $sum;
	exit;
}
$body = file_get_contents(getenv('WWW') . "/$name");
header('Content-Length: ' . strlen($body));
/* By way of a stream of its own, of two ends. */
$pair = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
foreach (str_split($body, 1700) as $number => $piece) {
	for ($at = 0; $at < strlen($piece); $at += 1000)
		fwrite($pair[0], substr($piece, $at, 1000));
	for ($got = ''; strlen($got) < strlen($piece); )
		$got .= fread($pair[1], min(500, strlen($piece) - strlen($got)));
	echo $got;
	if ($number % 5 === 0)
		flush();
}
END
cat >"$tmp/conf" <<END
ServerRoot $tmp
ServerName localhost
DefaultRuntimeDir $tmp/log
LoadModule mpm_prefork_module $modules/mod_mpm_prefork.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule alias_module $modules/mod_alias.so
LoadModule env_module $modules/mod_env.so
LoadModule php_module $php
PidFile $tmp/log/pid
ErrorLog $tmp/log/error
Listen 127.0.0.1:$port
User www-data
Group www-data
StartServers 4
MaxRequestWorkers 16
MaxKeepAliveRequests 0
KeepAliveTimeout 15
Timeout 30
SetEnv WWW $tmp/www
php_admin_value output_buffering 0
php_admin_value post_max_size 16M
Alias /big $tmp/big
AliasMatch ^/(f[0-9]+|hash)$ $tmp/page.php
<Files page.php>
	SetHandler application/x-httpd-php
</Files>
END
server_start apache2 -DFOREGROUND -f "$tmp/conf"
server_ready "$port"

load_python http load_http.py --port "$port" --root "$tmp/www" --clients 6 \
	--pipeline 4 --post --least 1000
metrics_during
load_end
metrics_pid
# shellcheck disable=SC2046
metrics_once "$server_pid" $(pgrep -P "$server_pid")
curl_hashes "http://127.0.0.1:$port/big" "$tmp/big"
ab_run 1000 "http://127.0.0.1:$port/f1000" -k

children() {
	pgrep -P "$server_pid" | tr '\n' ' '
}
replaced() {
	local pid

	for pid in $before; do
		gone "$pid" || return 1
	done
	[ "$(pgrep -c -P "$server_pid")" -ge 2 ]
}
load_python graceful load_http.py --port "$port" --root "$tmp/www" --clients 6 \
	--reconnect --least 500
for number in 1 2; do
	before=$(children)
	kill -USR1 "$server_pid" || fail "the server is gone"
	within 20 replaced || fail "restart $number: children $before stay"
done
load_end
! grep -Ei 'php (warning|notice|fatal)|exit signal' "$tmp/log/error" ||
	fail "$(grep -Eim1 'php (warning|notice|fatal)|exit signal' "$tmp/log/error")"

server_stop TERM 0
pass "$(load_figure http messages) exchanges of 6 clients compared," \
	"$(amount "$(load_figure http received)"), 16 MiB by 4 curls, 1000 by ab," \
	"2 graceful restarts under $(load_figure graceful messages) requests"
