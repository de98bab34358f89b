#!/bin/bash
# dovecot: a master that starts a program for each of its services, which talk over Unix
# sockets; imap-login, in a chroot, hands logged-in connections on with SCM_RIGHTS.
# Functions are called by name, through within and load_start.
# shellcheck disable=SC2317
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin
need dovecot
need_root
[ -x /usr/lib/dovecot/imap-login ] || skip "dovecot's IMAP is not installed"
# Of its programs, imap is looked at: it has every client's connection once logged in.
case_begin imap
stays=$'anvil.sock\nimap-login.sock'
port=$(free_port)
mkdir -m 777 "$tmp/mail"
cat >"$tmp/conf" <<END
base_dir = $tmp/run
state_dir = $tmp/state
log_path = $tmp/log/dovecot
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = mdbox:$tmp/mail/%u
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
first_valid_gid = 1
mail_max_userip_connections = 100
import_environment = TZ LD_PRELOAD STREAM_METRICS_SOCKET
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=mail gid=mail home=$tmp/mail/%u
}
service anvil {
  client_limit = 2000
}
service auth {
  client_limit = 2000
}
service imap-login {
  inet_listener imap {
    port = $port
  }
  inet_listener imaps {
    port = 0
  }
  service_count = 0
}
service imap {
  service_count = 100
  client_limit = 8
}
END
server_start dovecot -F -c "$tmp/conf"
server_ready "$port"

load_python imap load_imap.py --port "$port" --clients 4 --least 300
metrics_during
load_end

# The configuration is read again: its programs are replaced, connections go on.
load_python reload load_imap.py --port "$port" --clients 4 --least 200
talks() {
	[ -n "$(ls -A "$tmp/mail")" ]
}
within 10 talks || fail "no mail"
for number in 1 2 3; do
	doveadm -c "$tmp/conf" reload || fail "reload $number failed"
	within 10 port_open "$port" || fail "nobody listens after reload $number"
done
load_end
! grep -E 'Panic|Fatal|killed with signal|core dumped' "$tmp/log/dovecot" ||
	fail "dovecot complains"

server_stop TERM 0
pass "$(load_figure imap messages) messages of 4 users appended, told of, fetched and" \
	"found, $(amount "$(load_figure imap moved)"), 3 reloads under" \
	"$(load_figure reload messages) messages"
