"""server_forking.py PORT: socketserver, a process forked for each connection, a write for
each line of a reply.  The protocol is load_lines.py's; SIGTERM ends it cleanly."""
import signal
import socketserver
import sys
import threading

import server_lines


class Server(socketserver.ForkingTCPServer):
    allow_reuse_address = True
    request_queue_size = 64
    max_children = 100


def main():
    with Server(("127.0.0.1", int(sys.argv[1])), server_lines.Lines) as server:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(
            target=server.shutdown).start())
        server.serve_forever()


if __name__ == "__main__":
    main()
