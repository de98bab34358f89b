#!/bin/bash
# memcached: four worker threads on libevent; connections are handed to them by pipe.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

need memcached
case_begin memcached
port=$(free_port)
user=()
[ "$(id -u)" != 0 ] || user=(-u nobody)
server_start memcached "${user[@]}" -l 127.0.0.1 -p "$port" -U 0 -m 256 -t 4 -c 256
server_ready "$port"

load_python small load_kv.py --speak memcached --port "$port" --clients 6 \
	--least 20000
load_python deep load_kv.py --speak memcached --port "$port" --clients 2 \
	--pipeline 64 --least 4000
metrics_during
load_end
received=$(($(load_figure small received) + $(load_figure deep received)))
sent=$(($(load_figure small sent) + $(load_figure deep sent)))
metrics_bytes "$received" "$sent"
metrics_pid

server_stop TERM 0
pass "$(($(load_figure small messages) + $(load_figure deep messages))) commands of" \
	"8 clients compared, $(amount "$received") received"
