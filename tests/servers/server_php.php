<?php
/* server_php.php PORT: load_lines.py's lines by the sockets extension, whose calls pass a
 * preloaded library by (it is loaded with RTLD_DEEPBIND); a process for each connection.
 * "ftp PORT" fetches, stores and compares by the ftp extension. */
function say($stream, $line) {
	for ($at = 0; $at < strlen($line); )
		$at += socket_write($stream, substr($line, $at));
}

function ask($stream, $line) {
	[, $seed, $length] = explode(' ', $line);
	say($stream, "re $line\n");
	for ($i = 0; $i < $length; $i++)
		say($stream, "$i " . ($seed * 7919 + $i * 104729) . "\n");
	say($stream, "end $seed\n");
}

function ftp($stream, $port) {
	$ftp = ftp_connect('127.0.0.1', $port, 10);
	$result = ftp_login($ftp, 'anonymous', 'x') && ftp_pasv($ftp, true);
	for ($round = 0; $result && $round < 5; $round++) {
		$body = random_bytes(200000 + $round);
		$from = fopen('php://memory', 'w+');
		fwrite($from, $body);
		rewind($from);
		$to = fopen('php://memory', 'w+');
		$result = ftp_fput($ftp, "in/php$round", $from, FTP_BINARY) &&
			ftp_fget($ftp, $to, "in/php$round", FTP_BINARY) && rewind($to) &&
			stream_get_contents($to) === $body && ftp_delete($ftp, "in/php$round");
	}
	say($stream, $result ? "ftp right\n" : "ftp wrong\n");
}

function serve($stream) {
	$buffer = '';
	while (($data = socket_read($stream, 4096)) !== false && $data !== '') {
		$lines = explode("\n", $buffer . $data);
		$buffer = array_pop($lines);
		foreach ($lines as $line) {
			if (str_starts_with($line, 'ask '))
				ask($stream, $line);
			else
				ftp($stream, (int)substr($line, 4));
		}
	}
}

pcntl_async_signals(true);
/* Not restarted: accept must come back for it. */
pcntl_signal(SIGTERM, function () { exit(0); }, false);
$listener = socket_create(AF_INET, SOCK_STREAM, SOL_TCP);
socket_set_option($listener, SOL_SOCKET, SO_REUSEADDR, 1);
socket_bind($listener, '127.0.0.1', (int)$argv[1]);
socket_listen($listener, 64);
for (;;) {
	$stream = @socket_accept($listener);
	if (!$stream)
		continue;
	if (pcntl_fork() === 0) {
		serve($stream);
		exit(0);
	}
	socket_close($stream);
	while (pcntl_waitpid(-1, $status, WNOHANG) > 0)
		;
}
