# Shared by the cases about company: server_company.c beside others of its process.
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$here/lib.sh"

# company_build NAME COMPILER [FLAG...]
company_build() {
	local name=$1

	shift
	"$@" -g -O1 -o "$tmp/$name" "$here/server_company.c" -pthread \
		>"$tmp/log/build" 2>&1
}

# company_run WHAT PROGRAM [COMMAND...]: a short load of lines, ended by quit; the
# COMMANDs are called meanwhile.  Nothing may be said on stderr.
company_run() {
	local what=$1 program=$2 wanted

	shift 2
	metrics_socket=$tmp/m/${program##*/}.sock
	port=$(free_port)
	server_start "${with[@]}" "$program" "$port"
	server_ready "$port"
	load_python lines load_lines.py --port "$port" --clients 4 --least 1500
	for wanted; do
		"$wanted"
	done
	if preloaded; then
		"$python" "$here/metrics.py" moving "$metrics_socket" ||
			fail "$what: no bytes counted"
	fi
	load_end
	metrics_bytes "$(load_figure lines received)" "$(load_figure lines sent)" \
		"${slack:-0}"
	exec 5<>"/dev/tcp/127.0.0.1/$port"
	echo quit >&5
	server_ended 0 "on quit, $what"
	exec 5>&-
	[ ! -s "$tmp/log/server.err" ] ||
		fail "$what: $(head -n 1 "$tmp/log/server.err")"
}

# tell COMMAND: what the server answers on a connection of its own, until the answer ends
# with a line that begins as LAST says.
tell() {
	local line all=

	exec 6<>"/dev/tcp/127.0.0.1/$port"
	echo "$1" >&6
	while read -r -t 10 line <&6; do
		all+="$line;"
		[[ $line != $2* ]] || break
	done
	exec 6>&-
	echo "$all"
}
