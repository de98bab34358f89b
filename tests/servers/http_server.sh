#!/bin/bash
# python3 -m http.server: head and body are two writes on a connection that is kept.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

need ab
case_begin python3
port=$(free_port)
make_files "$tmp/www"
head -c 4194304 /dev/urandom >"$tmp/www/big"
server_start "$python" -m http.server --protocol HTTP/1.1 --bind 127.0.0.1 \
	--directory "$tmp/www" "$port"
server_ready "$port"

load_python http load_http.py --port "$port" --root "$tmp/www" --clients 6 \
	--pipeline 16 --least 2000
metrics_during
load_end
metrics_bytes "$(load_figure http received)" "$(load_figure http sent)"
metrics_pid
curl_hashes "http://127.0.0.1:$port/big" "$tmp/www/big"
ab_run 500 "http://127.0.0.1:$port/f1000"

server_stop INT 0
pass "$(load_figure http messages) files of 6 clients compared," \
	"$(amount "$(load_figure http received)"), 16 MiB by 4 curls, 500 by ab"
