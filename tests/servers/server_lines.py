"""server_lines.py PORT: socketserver, a thread for each connection, a write for each
line of a reply.  The protocol is load_lines.py's; SIGTERM ends it cleanly."""
import signal
import socketserver
import sys
import threading


class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            _, seed, length = line.split()
            seed = int(seed)
            self.wfile.write(b"re " + line)
            for number in range(int(length)):
                self.wfile.write(b"%d %d\n" % (number, seed * 7919 + number * 104729))
            self.wfile.write(b"end %d\n" % seed)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 64


def main():
    with Server(("127.0.0.1", int(sys.argv[1])), Lines) as server:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(
            target=server.shutdown).start())
        server.serve_forever()


if __name__ == "__main__":
    main()
