# SPDX-License-Identifier: Apache-2.0
"""A host and an internet of the test's own: two network namespaces joined by a cable.

A server is started inside `host`; behind its uplink is `world`, which answers for all addresses that
the tests speak to. Nothing leaves the machine.

    good.test, other.test, a.wild.test, evil.test   all at 203.0.113.10: TLS, HTTP, a WebSocket
    second.test                                     203.0.113.20, the same server
    rebind.test                                     10.1.2.3
    resolver                                        10.9.9.53
"""

import contextlib
import ctypes
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

SERVER, SECOND, PRIVATE, RESOLVER = "203.0.113.10", "203.0.113.20", "10.1.2.3", "10.9.9.53"
CLONE_NEWNET = 0x40000000


class Namespace:
    """A network namespace that lives as long as a process that does nothing in it."""

    def __init__(self):
        self.proc = subprocess.Popen(
            ["unshare", "--net", "--", "sh", "-c", "echo; exec sleep 100000"],
            stdout=subprocess.PIPE,
        )
        self.proc.stdout.readline()
        self.path = f"/proc/{self.proc.pid}/ns/net"
        self.prefix = ["nsenter", f"--net={self.path}"]
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command):
        done = subprocess.run([*self.prefix, *command], capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def connect(self, address):
        """A connection that is made inside."""
        result = []

        def inside():
            with open(self.path) as target:
                # of this thread alone
                if ctypes.CDLL(None, use_errno=True).setns(target.fileno(), CLONE_NEWNET) < 0:
                    return
            with contextlib.suppress(OSError):
                result.append(socket.create_connection(address, 10))

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        return result[0] if result else None

    def close(self):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()


class Forwarder:
    """A port of this machine that leads to one inside a namespace."""

    def __init__(self, namespace, address):
        self.namespace, self.address = namespace, address
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.forward, args=(client,), daemon=True).start()

    def forward(self, client):
        inner = self.namespace.connect(self.address)
        if inner is None:
            client.close()
            return
        inner.settimeout(None)
        ends = {client: inner, inner: client}
        open_ends = set(ends)
        with client, inner, contextlib.suppress(OSError):
            while open_ends:
                for end in select.select(list(open_ends), [], [])[0]:
                    data = end.recv(65536)
                    if data:
                        ends[end].sendall(data)
                    else:
                        open_ends.discard(end)
                        ends[end].shutdown(socket.SHUT_WR)

    def close(self):
        self.listener.close()


class World:
    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="carrel-world-"))
        self.host, self.world = Namespace(), Namespace()
        self.proc = None
        try:
            self.join()
            self.certificate()
            self.serve()
        except BaseException:
            self.close()
            raise

    def join(self):
        self.host.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0",
                      "netns", str(self.world.proc.pid))  # fmt: skip
        for side, address in ((self.host, "192.0.2.2/24"), (self.world, "192.0.2.1/24")):
            side.run("ip", "address", "add", address, "dev", "eth0")
            side.run("ip", "link", "set", "eth0", "up")
        self.host.run("ip", "route", "add", "default", "via", "192.0.2.1")
        for address in (SERVER, SECOND, PRIVATE, RESOLVER):
            self.world.run("ip", "address", "add", f"{address}/32", "dev", "lo")

    def certificate(self):
        self.cert, self.key = self.directory / "cert.pem", self.directory / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=world", "-keyout", self.key, "-out", self.cert,
             "-addext", "subjectAltName=DNS:*.test,DNS:*.wild.test"],
            check=True, capture_output=True,
        )  # fmt: skip

    def serve(self):
        program = Path(__file__).with_name("world_server.py")
        self.proc = subprocess.Popen(
            [*self.world.prefix, sys.executable, str(program), str(self.cert), str(self.key),
             str(self.directory / "seen")],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.proc.stdout.readline() == "ready\n"

    def seen(self):
        """What has reached the world, a line each."""
        return (self.directory / "seen").read_text().splitlines()

    def close(self):
        if self.proc:
            self.proc.kill()
            self.proc.wait()
            self.proc.stdout.close()
        self.host.close()
        self.world.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        assert not os.path.exists(self.directory)
