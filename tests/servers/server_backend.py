"""server_backend.py PORT DIRECTORY: the plain web server behind a proxy that is being
tested.  Whole replies leave in one write, so that it adds no delays of its own."""
import functools
import http.server
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def log_message(self, *_arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


Server(("127.0.0.1", int(sys.argv[1])),
       functools.partial(Handler, directory=sys.argv[2])).serve_forever()
