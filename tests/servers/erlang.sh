#!/bin/bash
# Erlang: inets' httpd, and a line server whose reply leaves in eleven writes; the
# emulator's threads poll, write with writev, and start helper programs.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

need erl erlc ab
case_begin beam.smp
port=$(free_port)
make_files "$tmp/www"
head -c 4194304 /dev/urandom >"$tmp/www/big"
mkdir "$tmp/code"
erlc -o "$tmp/code" "$here/server.erl" >"$tmp/log/compiler" 2>&1 ||
	fail "server.erl does not compile"
server_start env ERL_CRASH_DUMP=/dev/null HOME="$tmp" erl -noshell -noinput +S 2:2 \
	-pa "$tmp/code" -run server main "$port" "$tmp/www"
server_ready "$((port + 1))"

load_python http load_http.py --port "$port" --root "$tmp/www" --clients 4 \
	--reconnect --least 200
load_python lines load_lines.py --port "$((port + 1))" --clients 4 --least 1000
metrics_during
load_end
metrics_pid
curl_hashes "http://127.0.0.1:$port/big" "$tmp/www/big"
ab_run 500 "http://127.0.0.1:$port/f1000"

exec 5<>"/dev/tcp/127.0.0.1/$((port + 1))"
echo quit >&5
server_ended 0 "on quit"
exec 5>&-
pass "$(load_figure http messages) files of 4 clients compared," \
	"$(amount "$(load_figure http received)"), $(load_figure lines messages) replies of" \
	"11 lines, 16 MiB by 4 curls, 500 by ab"
