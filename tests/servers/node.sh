#!/bin/bash
# Node: libuv, replies in chunked pieces, bodies sent to it.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

need node ab
case_begin node
port=$(free_port)
make_files "$tmp/www"
head -c 4194304 /dev/urandom >"$tmp/www/big"
server_start node "$here/server.js" "$port" "$tmp/www"
server_ready "$port"

load_python http load_http.py --port "$port" --root "$tmp/www" --clients 6 \
	--pipeline 8 --post --least 4000
metrics_during
load_end
metrics_bytes "$(load_figure http received)" "$(load_figure http sent)"
metrics_pid
curl_hashes "http://127.0.0.1:$port/big" "$tmp/www/big"
ab_run 2000 "http://127.0.0.1:$port/f9000" -k

server_stop TERM 0
pass "$(load_figure http messages) exchanges of 6 clients compared," \
	"$(amount "$(load_figure http received)") out," \
	"$(amount "$(load_figure http sent)") in," \
	"16 MiB by 4 curls, 2000 by ab"
