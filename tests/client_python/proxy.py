# SPDX-License-Identifier: Apache-2.0
"""A relay between the package and the server that a test can break: connections are cut when the
test says so, after a number of bytes or at once."""

import socket
import threading
from contextlib import closing, suppress


class Relay:
    """Listens on a port of its own and passes bytes on. `cut()` breaks all connections;
    `limit` breaks each after so many bytes of answers; `closed` refuses new ones."""

    def __init__(self, target):
        self.target = target
        self.limit = None
        self.count = 0  # of connections
        self.pairs = []
        self.asked = {}  # what came last from a client
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            upstream = socket.create_connection(self.target)
            self.pairs.append((client, upstream))
            for ends in ((client, upstream, False), (upstream, client, True)):
                threading.Thread(target=self.pump, args=ends, daemon=True).start()

    def pump(self, source, sink, is_answer):
        passed = 0
        with suppress(OSError), closing(source), closing(sink):
            while data := source.recv(16384):
                if not is_answer:
                    self.asked[source] = data
                sink.sendall(data)
                passed += len(data)
                if is_answer and self.limit is not None and passed >= self.limit:
                    for end in (sink, source):
                        end.shutdown(socket.SHUT_RDWR)
                    return
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

    def cut(self, asked=b""):
        """Breaks all connections, or those on which this was asked last."""
        for pair in self.pairs:
            if asked in self.asked.get(pair[0], b""):
                for end in pair:
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)

    def close(self):
        with suppress(OSError):  # closed already
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self.listener.close()
        self.cut()
