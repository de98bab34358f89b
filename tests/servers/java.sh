#!/bin/bash
# Java's HttpServer with a pool of threads: one thread polls, others read and write, with
# sockets that are made non-blocking and back.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

need java ab
compiler=/usr/share/java/ecj.jar
[ -r "$compiler" ] || skip "there is no compiler for Java"
case_begin java
port=$(free_port)
make_files "$tmp/www"
head -c 4194304 /dev/urandom >"$tmp/www/big"
java -Xshare:auto -XX:TieredStopAtLevel=1 -cp "$compiler" \
	org.eclipse.jdt.internal.compiler.batch.Main -11 -d "$tmp/classes" \
	"$here/Server.java" >"$tmp/log/compiler" 2>&1 ||
	fail "Server.java does not compile"
# Without this option each answer of two pieces takes 40 ms natively.
server_start java -Dsun.net.httpserver.nodelay=true -Xmx96m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$tmp/classes" \
	Server "$port" "$tmp/www"
server_ready "$port"

load_python http load_http.py --port "$port" --root "$tmp/www" --clients 6 \
	--post --reconnect --least 200
metrics_during
load_end
metrics_pid
curl_hashes "http://127.0.0.1:$port/big" "$tmp/www/big"
ab_run 300 "http://127.0.0.1:$port/f1000"

server_stop TERM 143
pass "$(load_figure http messages) exchanges of 6 clients compared," \
	"$(amount "$(load_figure http received)") out, $(amount "$(load_figure http sent)")" \
	"in, 16 MiB by 4 curls, 300 by ab"
