#!/bin/bash
# Chromium under the library, headless: its processes, sandboxed by name spaces and seccomp where the machine
# lets it (not as root), load a page and what its script asks for from Python's http.server, also under the library.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

need chromium
case_begin python3
port=$(free_port)
mkdir -m 777 "$tmp/c" "$tmp/home"
mkdir "$tmp/www"
head -c 3000000 /dev/urandom | od -An -v -tx1 >"$tmp/www/data"
cat >"$tmp/www/index.html" <<'END'
<p id=sum>nothing
<script>
fetch("data").then(r => r.text()).then(t => {
	let sum = 0;
	for (const c of t)
		sum = (sum * 31 + c.charCodeAt(0)) >>> 0;
	document.getElementById("sum").textContent = `${t.length} ${sum}.`;
});
</script>
END
wanted=$("$python" -c '
import sys
text, sum = open(sys.argv[1]).read(), 0
for c in text.encode():
    sum = sum * 31 + c & 0xffffffff
print(f"{len(text)} {sum}.")' "$tmp/www/data")
server_start "$python" -m http.server --protocol HTTP/1.1 --bind 127.0.0.1 --directory "$tmp/www" "$port"
server_ready "$port"

# browse NAME [COMMAND...]: what the page has become, by `${user[@]}`.
browse() {
	local name=$1

	shift
	rm -rf "$tmp/home/profile"
	timeout -k 5 40 "${user[@]}" env -u XDG_RUNTIME_DIR HOME="$tmp/home" "$@" \
		chromium --headless "${options[@]}" --user-data-dir="$tmp/home/profile" \
		--virtual-time-budget=20000 --dump-dom "http://127.0.0.1:$port/" \
		>"$tmp/log/$name.out" 2>"$tmp/log/$name.err"
	sed -n 's/.*<p id="sum">\([0-9 ]*\.\).*/\1/p' "$tmp/log/$name.out"
}

with=()
if preloaded; then
	with=("LD_PRELOAD=$WEIR_LIB" "STREAM_METRICS_SOCKET=$tmp/c/%e.%p.sock")
fi
# compared NAME: false where it does not run natively either.
compared() {
	if [ "$(browse "$1" "${with[@]}")" != "$wanted" ]; then
		[ "$(browse "$1.native")" != "$wanted" ] || fail "$1: the page is not as it is natively"
		return 1
	fi
	! grep -q '^weir' "$tmp/log/$1.err" || fail "$1: $(grep -m1 '^weir' "$tmp/log/$1.err")"
	how+=("$1")
}

how=()
user=() options=(--no-sandbox)
compared unsandboxed || skip "chromium does not run here"
options=()
[ "$(id -u)" != 0 ] || user=(setpriv --reuid nobody --regid nogroup --clear-groups)
compared sandboxed || how+=("(a sandbox is not to be had here)")
if preloaded; then
	"$python" "$here/metrics.py" moving "$metrics_socket" || fail "metrics: no bytes counted"
fi
server_stop INT 0
pass "a page and 9 MB that its script asked for, ${how[*]}"
