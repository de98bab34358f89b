#!/bin/bash
# git three ways: its own daemon, whose children inherit a stream as their standard input
# and output; over ssh; and over HTTP, where Apache hands a stream to a program by CGI.
# Every program at the server's end has the library.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need git sshd ssh ssh-keygen apache2
need_root
[ -x /usr/lib/git-core/git-daemon ] || skip "git has no daemon"
# Of the three servers Apache is the one looked at: the others start a program for each
# connection.
case_begin apache2
modules=/usr/lib/apache2/modules
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=$tmp/gitconfig HOME=$tmp
git config --global user.name weir
git config --global user.email weir@localhost
git config --global init.defaultBranch main
git config --global safe.directory '*'
git config --global gc.auto 0

# A repository with a history of text, and files that do not compress.
git init -q "$tmp/tree"
mkdir "$tmp/tree/d"
for number in {1..30}; do
	seq "$number" $((number * 300)) >"$tmp/tree/d/f$((number % 7))"
	head -c $((number * 10000)) /dev/urandom >"$tmp/tree/b$((number % 5))"
	git -C "$tmp/tree" add . || fail "cannot add"
	git -C "$tmp/tree" commit -qm "change $number" || fail "cannot commit"
done
mkdir "$tmp/git"
for name in one two three; do
	git clone -q --bare "$tmp/tree" "$tmp/git/$name" || fail "cannot clone"
	git -C "$tmp/git/$name" config http.receivepack true
done

own=$(free_port) secure=$(free_port) web=$(free_port)
server_start /usr/lib/git-core/git-daemon --reuseaddr --listen=127.0.0.1 --port="$own" \
	--base-path="$tmp/git" --export-all --enable=receive-pack --max-connections=0
server_ready "$own"
daemon=$server_pid

[ -d /run/sshd ] || mkdir -m 755 /run/sshd
for file in host key; do
	ssh-keygen -q -t ed25519 -N '' -f "$tmp/$file" || fail "ssh-keygen failed"
done
with=()
! preloaded || with=(-o "SetEnv=LD_PRELOAD=$WEIR_LIB STREAM_METRICS_SOCKET=$tmp/m/%e.%p.sock")
server_start "$(command -v sshd)" -D -e -f /dev/null -p "$secure" -h "$tmp/host" \
	-o ListenAddress=127.0.0.1 -o PidFile=none -o UsePAM=no -o StrictModes=no \
	-o "AuthorizedKeysFile=$tmp/key.pub" -o MaxStartups=100 "${with[@]}"
server_ready "$secure"
ssh=$server_pid
cat >"$tmp/ssh" <<END
#!/bin/sh
exec ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o LogLevel=ERROR \\
	-o ConnectTimeout=10 -o "UserKnownHostsFile=$tmp/known" -i "$tmp/key" "\$@"
END
chmod 755 "$tmp/ssh"
export GIT_SSH=$tmp/ssh

cat >"$tmp/conf" <<END
ServerRoot $tmp
ServerName localhost
DefaultRuntimeDir $tmp/log
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule alias_module $modules/mod_alias.so
LoadModule env_module $modules/mod_env.so
LoadModule cgid_module $modules/mod_cgid.so
PidFile $tmp/log/pid
ScriptSock $tmp/run/cgid
ErrorLog $tmp/log/error
Listen 127.0.0.1:$web
User nobody
Group nogroup
PassEnv LD_PRELOAD STREAM_METRICS_SOCKET
SetEnv GIT_PROJECT_ROOT $tmp/git
SetEnv GIT_HTTP_EXPORT_ALL 1
SetEnv GIT_CONFIG_GLOBAL $tmp/gitconfig
SetEnv REMOTE_USER weir
ScriptAlias / /usr/lib/git-core/git-http-backend/
<Directory /usr/lib/git-core>
	Require all granted
</Directory>
END
mkdir -m 777 "$tmp/run"
chown -R nobody "$tmp/git/three"
preloaded || sed -i '/^PassEnv/d' "$tmp/conf"
server_start apache2 -DFOREGROUND -f "$tmp/conf"
server_ready "$web"

# rounds NAME URL: clone, commit, push, fetch elsewhere, until told to stop
rounds() {
	local name=$1 url=$2 round=0 want

	timeout 30 git clone -q "$url" "$tmp/c.$name" || return 1
	timeout 30 git clone -q "$url" "$tmp/o.$name" || return 1
	while [ ! -e "$tmp/stop" ] || [ "$round" -lt 2 ]; do
		head -c 400000 /dev/urandom >"$tmp/c.$name/b1"
		seq "$round" 20000 >"$tmp/c.$name/d/f1"
		git -C "$tmp/c.$name" commit -qam "$round" || return 1
		timeout 30 git -C "$tmp/c.$name" push -q || return 1
		timeout 30 git -C "$tmp/o.$name" pull -q --ff-only || return 1
		rm -rf "$tmp/n.$name"
		timeout 30 git clone -q "$url" "$tmp/n.$name" || return 1
		want=$(git -C "$tmp/c.$name" rev-parse HEAD)
		[ "$(git -C "$tmp/o.$name" rev-parse HEAD)" = "$want" ] || return 1
		[ "$(git -C "$tmp/n.$name" rev-parse HEAD)" = "$want" ] || return 1
		git -C "$tmp/n.$name" fsck --strict || return 1
		diff -r -x .git "$tmp/c.$name" "$tmp/n.$name" >&2 || return 1
		round=$((round + 1))
	done
	echo "{\"rounds\": $round}"
}
load_start own rounds own "git://127.0.0.1:$own/one"
load_start ssh rounds ssh "ssh://root@127.0.0.1:$secure$tmp/git/two"
load_start web rounds web "http://127.0.0.1:$web/three"
metrics_during
metrics_pid
load_end

kill -TERM "$ssh" "$daemon"
within 15 gone "$ssh" || fail "sshd does not end"
within 15 gone "$daemon" || fail "git's daemon does not end"
# It does not handle the signal: its metrics socket stays.
stays=git-daemon.sock
server_stop TERM 0
pass "clones, pushes and pulls compared, $(load_figure own rounds) rounds by git's daemon," \
	"$(load_figure ssh rounds) over ssh, $(load_figure web rounds) over HTTP"
