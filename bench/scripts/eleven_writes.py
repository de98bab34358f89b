"""A line server on socketserver whose reply is made in eleven unbuffered writes.

Usage: eleven_writes.py [nodelay] PORT
"""

import socketserver
import sys


class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = "nodelay" in sys.argv

    def handle(self):
        while self.rfile.readline():
            for i in range(10):
                self.wfile.write(b"item %d of ten\n" % i)
            self.wfile.write(b".\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


Server(("127.0.0.1", int(sys.argv[-1])), Handler).serve_forever()
