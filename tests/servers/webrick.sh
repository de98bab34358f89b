#!/bin/bash
# WEBrick: Ruby's threads, which take turns; head and body are written apart.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

need ruby ab
ruby -e 'require "webrick"' 2>/dev/null || skip "WEBrick is not installed"
case_begin ruby
port=$(free_port)
make_files "$tmp/www"
head -c 4194304 /dev/urandom >"$tmp/www/big"
server_start ruby "$here/server_webrick.rb" "$port" "$tmp/www"
server_ready "$port"

load_python http load_http.py --port "$port" --root "$tmp/www" --clients 4 \
	--post --reconnect --least 600
metrics_during
load_end
metrics_pid
curl_hashes "http://127.0.0.1:$port/big" "$tmp/www/big"
ab_run 300 "http://127.0.0.1:$port/f1000"

server_stop TERM 0
pass "$(load_figure http messages) exchanges of 4 clients compared," \
	"$(amount "$(load_figure http received)") out, $(amount "$(load_figure http sent)")" \
	"in, 16 MiB by 4 curls, 300 by ab"
