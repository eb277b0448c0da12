# SPDX-License-Identifier: Apache-2.0
"""TLS and HTTP/2 on the server's one port, and the SDKs in domain mode: their only setting, beside
the key, is the domain."""
import hashlib
import json
import os
import socket
import ssl
import subprocess
import sys

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset,
                       WindowUpdated)

from conftest import serving
from harness import BINARY, BUILD, ENVD, ROOT, Server, eventually

DOMAIN = "carrel.test"
MIB = 1 << 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class TlsServer(Server):
    """Prints E2B_DOMAIN instead of URLs; the port must be known before."""

    def __init__(self):
        super().__init__()
        self.port = free_port()
        self.certificates = self.directory / "certificates"
        self.make_certificate()
        self.extra = ["--domain", f"{DOMAIN}:{self.port}",
                      "--tls-cert", str(self.certificates / "cert.pem"),
                      "--tls-key", str(self.certificates / "key.pem")]

    def make_certificate(self):
        subprocess.run([BINARY, "cert", DOMAIN, "--out", self.certificates], check=True,
                       stdout=subprocess.DEVNULL)

    def start(self, timeout=30.0, listen=None):
        return super().start(timeout, listen or f"0.0.0.0:{self.port}")

    def trust(self):
        return ssl.create_default_context(cafile=self.certificates / "ca.pem")

    def dial(self, protocols=("h2",), host="127.0.0.1"):
        context = self.trust()
        context.set_alpn_protocols(protocols)
        raw = socket.create_connection((host, self.port), 30)
        return context.wrap_socket(raw, server_hostname=DOMAIN)

    def environment(self):
        authority = str(self.certificates / "ca.pem")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("E2B_")
                and not name.lower().endswith("_proxy")}
        return {**kept, "E2B_API_KEY": self.key, "E2B_DOMAIN": f"{DOMAIN}:{self.port}",
                "SSL_CERT_FILE": authority, "NODE_EXTRA_CA_CERTS": authority}


@pytest.fixture(scope="module")
def tls():
    server = TlsServer()
    yield from serving(server)


class Client:
    """One HTTP/2 connection, as far as tests need it."""

    def __init__(self, sock):
        self.sock = sock
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(8 * MIB)
        self.answers = {}  # stream: [status, fields, body, ended, reset code]
        self.terminated = None
        self.flush()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def request(self, method, path, headers=(), body=None, authority=DOMAIN, end=True):
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":path", path), (":scheme", "https"),
                  (":authority", authority), *headers]
        self.answers[stream] = [None, {}, b"", False, None]
        self.h2.send_headers(stream, fields, end_stream=body is None and end)
        self.flush()
        if body is not None:
            self.send(stream, body, end)
        return stream

    def send(self, stream, body, end=True):
        while body:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room == 0:
                self.read()
                continue
            self.h2.send_data(stream, body[:room])
            body = body[room:]
            self.flush()
        if end:
            self.h2.end_stream(stream)
            self.flush()

    def read(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        for event in self.h2.receive_data(data):
            if isinstance(event, ResponseReceived):
                fields = dict(event.headers)
                self.answers[event.stream_id][:2] = [int(fields[":status"]), fields]
            elif isinstance(event, DataReceived):
                self.answers[event.stream_id][2] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                self.answers[event.stream_id][3] = True
            elif isinstance(event, StreamReset):
                self.answers[event.stream_id][4] = event.error_code
            elif isinstance(event, ConnectionTerminated):
                self.terminated = event.error_code
        self.flush()

    def until(self, check):
        while not check():
            self.read()

    def finish(self, stream):
        answer = self.answers[stream]
        self.until(lambda: answer[3] or answer[4] is not None)
        return answer

    def call(self, *args, **options):
        return self.finish(self.request(*args, **options))


@pytest.fixture
def h2(tls):
    with tls.dial() as sock:
        assert sock.selected_alpn_protocol() == "h2"
        yield Client(sock)


@pytest.fixture(scope="module")
def box(tls):
    """(fields that address a sandbox's agent, its id)"""
    made = tls.api("POST", "/sandboxes", {"templateID": "base", "timeout": 300}).json()
    yield [("e2b-sandbox-id", made["sandboxID"]), ("e2b-sandbox-port", str(ENVD)),
           ("x-access-token", made["envdAccessToken"])], made["sandboxID"]
    tls.api("DELETE", f"/sandboxes/{made['sandboxID']}")


# ---- one port, three tongues ----


def test_one_port_speaks_all(tls):
    for url, options, version in [
        (f"https://{DOMAIN}:{tls.port}", ["--http2"], "2"),
        (f"https://{DOMAIN}:{tls.port}", ["--http1.1"], "1.1"),
        (f"http://{DOMAIN}:{tls.port}", ["--http1.1"], "1.1"),
        (f"http://{DOMAIN}:{tls.port}", ["--http2-prior-knowledge"], "2"),
    ]:
        got = subprocess.run(
            ["curl", "-sS", "--noproxy", "*", "--cacert", tls.certificates / "ca.pem", *options,
             "--resolve", f"{DOMAIN}:{tls.port}:127.0.0.1", "-w", "%{http_version} %{http_code}",
             f"{url}/health"], capture_output=True, text=True)
        assert got.stdout == f"{version} 204", (url, options, got)


def own_address():
    """An address of this host that is not of the loopback; None on a host without."""
    for line in subprocess.run(["ip", "-4", "-o", "addr", "show", "scope", "global"],
                               capture_output=True, text=True).stdout.splitlines():
        return line.split()[3].split("/")[0]
    return None


def test_keys_do_not_travel_in_the_clear(tls):
    address = own_address()
    if address is None:
        pytest.skip("this host has no address but the loopback's")
    with socket.create_connection((address, tls.port), 30) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = b"".join(iter(lambda: sock.recv(4096), b""))
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"speaks TLS" in body
    assert json.loads(body)["code"] == 400
    with tls.dial(host=address) as sock:
        assert Client(sock).call("GET", "/health")[0] == 204


def test_websocket_goes_through_tls(tls, box):
    """An upgrade is for HTTP/1.1, whatever the connection could speak; bytes are relayed raw."""
    fields, sandbox_id = box
    script = ("import socket\ns = socket.create_server(('127.0.0.1', 8765))\n"
              "c, _ = s.accept()\nh = b''\nwhile b'\\r\\n\\r\\n' not in h: h += c.recv(4096)\n"
              "c.sendall(b'HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\n"
              "Upgrade: websocket\\r\\n\\r\\n')\n"
              "while True:\n d = c.recv(4096)\n if not d: break\n c.sendall(d.upper())\n")
    start = {"process": {"cmd": "/usr/bin/python3", "args": ["-c", script]}}
    with tls.dial() as sock:
        client = Client(sock)
        headers = [*fields, ("content-type", "application/connect+json")]
        body = json.dumps(start).encode()
        process = client.request("POST", "/process.Process/Start", headers,
                                 b"\0" + len(body).to_bytes(4, "big") + body)
        client.until(lambda: b'"pid"' in client.answers[process][2])
        with tls.dial(("http/1.1",)) as raw:
            raw.sendall((f"GET /chat HTTP/1.1\r\nHost: 8765-{sandbox_id}.{DOMAIN}\r\n"
                         "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                         "Sec-WebSocket-Key: x\r\n\r\n").encode())
            reply = b""
            while b"\r\n\r\n" not in reply:
                reply += raw.recv(4096)
            assert reply.startswith(b"HTTP/1.1 101 "), reply
            raw.sendall(b"hello")
            assert raw.recv(4096) == b"HELLO"


def test_a_new_certificate_is_taken(tls):
    def serial():
        with tls.dial() as sock:
            return sock.getpeercert()["serialNumber"]
    before = serial()
    tls.make_certificate()
    eventually(lambda: serial() != before, 20, "the new certificate")
    (tls.certificates / "key.pem").write_text("no key\n")
    eventually(lambda: "the one before stays" in tls.log.read_text() or serial() and False, 20,
               "a word on the bad key")
    assert serial() != before
    tls.make_certificate()
    now = subprocess.run(["openssl", "x509", "-in", tls.certificates / "cert.pem", "-noout",
                          "-serial"], capture_output=True, text=True).stdout.strip()
    eventually(lambda: now.endswith(serial()), 20, "the last certificate")


def test_files_that_cannot_be_read_are_named():
    server = TlsServer()
    (server.certificates / "key.pem").chmod(0o600)
    done = subprocess.run([BINARY, "serve", "--listen", "127.0.0.1:0", "--state", server.state,
                           "--run", server.run, *server.extra], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode != 0
    assert f"{server.certificates}/key.pem (read as user" in done.stderr
    server.remove()


# ---- HTTP/2 ----


def test_bodies_both_ways(h2, box):
    fields, _ = box
    content = os.urandom(9 * MIB + 17)
    headers = [*fields, ("content-type", "application/octet-stream")]
    for length in ([], [("content-length", str(len(content)))]):
        put = h2.call("POST", "/files?path=/tmp/blob&username=user", [*headers, *length], content)
        assert put[0] == 200, put
        got = h2.call("GET", "/files?path=/tmp/blob&username=user", fields)
        assert got[0] == 200 and int(got[1]["content-length"]) == len(content)
        assert hashlib.sha256(got[2]).digest() == hashlib.sha256(content).digest()
    head = h2.call("HEAD", "/files?path=/tmp/blob&username=user", fields)
    assert head[0] == 200 and head[2] == b"" and int(head[1]["content-length"]) == len(content)
    part = h2.call("GET", "/files?path=/tmp/blob&username=user", [*fields, ("range", "bytes=5-9")])
    assert part[0] == 206 and part[2] == content[5:10]


def test_many_at_once_on_one_connection(h2, box):
    fields, _ = box
    headers = [*fields, ("content-type", "application/json")]
    streams = [h2.request("POST", "/filesystem.Filesystem/Stat", headers,
                          json.dumps({"path": f"/{name}"}).encode())
               for name in ("etc", "usr", "tmp", "proc", "nothing-here") * 20]
    for i, stream in enumerate(streams):
        answer = h2.finish(stream)
        assert answer[0] == (404 if i % 5 == 4 else 200), answer


def test_an_answer_before_the_body_is_over(h2, tls):
    """401 comes at once; the client is told to stop sending, and the connection goes on."""
    stream = h2.request("POST", "/sandboxes", [("content-type", "application/json")], end=False)
    h2.send(stream, b"{", end=False)
    answer = h2.answers[stream]
    h2.until(lambda: answer[0] is not None and (answer[3] or answer[4] is not None))
    assert answer[0] == 401
    assert h2.call("GET", "/health")[0] == 204


def test_a_client_that_goes_away_ends_its_stream_only(h2, box):
    fields, _ = box
    headers = [*fields, ("content-type", "application/connect+json")]
    start = json.dumps({"process": {"cmd": "/bin/sh", "args": ["-c", "echo begun; read x"]},
                        "stdin": True}).encode()
    stream = h2.request("POST", "/process.Process/Start", headers,
                        b"\0" + len(start).to_bytes(4, "big") + start)
    h2.until(lambda: b'"stdout"' in h2.answers[stream][2])
    h2.h2.reset_stream(stream)
    h2.flush()
    listed = h2.call("POST", "/process.Process/List",
                     [*fields, ("content-type", "application/json")], b"{}")
    assert b"read x" in listed[2]


@pytest.mark.parametrize("fields, body", [
    ([(":method", "CONNECT"), (":authority", "127.0.0.1:22")], None),
    ([(":method", "GET"), (":path", "/health"), (":scheme", "https"), (":authority", "a"),
      ("connection", "close")], None),
    ([(":method", "GET"), (":path", "/health"), (":scheme", "https"), (":authority", "a"),
      ("transfer-encoding", "chunked")], None),
    ([(":method", "GET"), (":path", "/hea lth"), (":scheme", "https"), (":authority", "a")], None),
    ([(":method", "GET x HTTP/1.1"), (":path", "/health"), (":scheme", "https"),
      (":authority", "a")], None),
    ([(":method", "GET"), (":path", "/health"), (":scheme", "https"),
      (":authority", "a\r\nX-API-KEY: b")], None),
    ([(":method", "POST"), (":path", "/sandboxes"), (":scheme", "https"), (":authority", "a"),
      ("content-length", "5")], b"longer than five"),
    ([(":method", "GET"), (":path", "/health"), (":scheme", "https"), (":authority", "a"),
      *[("x-" + "a" * 60, "b" * 1000)] * 80], None),
])
def test_what_http1_could_not_tell_is_refused(tls, fields, body):
    """Nothing of it may reach a parser of HTTP/1.1 as something else."""
    with tls.dial() as sock:
        client = Client(sock)
        client.h2.config.validate_outbound_headers = False
        client.h2.config.normalize_outbound_headers = False
        stream = client.h2.get_next_available_stream_id()
        client.answers[stream] = [None, {}, b"", False, None]
        client.h2.send_headers(stream, fields, end_stream=body is None)
        if body is not None:
            client.h2.send_data(stream, body, end_stream=True)
        client.flush()
        answer = client.answers[stream]
        try:
            client.until(lambda: answer[3] or answer[4] is not None or client.terminated is not None)
        except (EOFError, ConnectionError):
            pass
        assert answer[0] in (None, 400, 431), answer
        assert answer[0] is None or body is None
    with tls.dial() as sock:
        assert Client(sock).call("GET", "/health")[0] == 204


def test_requests_taken_back_again_and_again_end_the_connection(tls):
    """Rapid reset: making and withdrawing requests costs a client nothing and a server much."""
    with tls.dial() as sock:
        client = Client(sock)
        try:
            for _ in range(2000):
                stream = client.request("GET", "/sandboxes")
                client.h2.reset_stream(stream)
                client.flush()
            client.until(lambda: client.terminated is not None)
        except (EOFError, ConnectionError, ssl.SSLError):
            pass
        assert client.terminated in (None, ErrorCodes.ENHANCE_YOUR_CALM)
    assert tls.api("GET", "/health", key="").status == 204


def test_garbage_after_the_greeting(tls):
    for noise in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(4096), b"PRI nonsense\r\n\r\n",
                  b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff\xff\xff\x00\x00" * 100,
                  b"\x16\x03\x01\x00\x05hello", b"\x16" + os.urandom(2000)):
        with socket.create_connection(("127.0.0.1", tls.port), 30) as sock:
            try:
                sock.sendall(noise)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
            except OSError:
                pass  # cut, at whatever point
    assert tls.api("GET", "/health", key="").status == 204


# ---- the SDKs, told nothing but the domain ----


def in_domain(tls, *command):
    return subprocess.run(
        [sys.executable, ROOT / "tests" / "e2e" / "dns_server.py", DOMAIN, *command],
        env=tls.environment(), capture_output=True, text=True, timeout=300)


PYTHON = """
import httpx, os
from e2b import Sandbox
with Sandbox.create(timeout=120) as sandbox:
    assert sandbox.commands.run("echo $((6 * 7))").stdout == "42\\n"
    sandbox.files.write("/tmp/page/index.html", "hello from inside")
    assert sandbox.files.read("/tmp/page/index.html") == "hello from inside"
    web = sandbox.commands.run("python3 -m http.server 8000 -d /tmp/page", background=True)
    sandbox.commands.run("until curl -s localhost:8000 >/dev/null; do :; done")
    host = sandbox.get_host(8000)
    assert host == f"8000-{sandbox.sandbox_id}.{os.environ['E2B_DOMAIN']}", host
    import ssl
    trust = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    page = httpx.get(f"https://{host}/", verify=trust)
    assert page.text == "hello from inside", page.text
    signed = sandbox.download_url("/tmp/page/index.html")
    assert signed.startswith("https://")
    assert httpx.get(signed, verify=trust).text == "hello from inside"
    web.kill()
print("all of it")
"""

NODE = """
import { Sandbox } from 'e2b'
const sandbox = await Sandbox.create({ timeoutMs: 120000 })
try {
  const run = await sandbox.commands.run('echo $((6 * 7))')
  if (run.stdout !== '42\\n') throw new Error(run.stdout)
  await sandbox.files.write('/tmp/page/index.html', 'hello from inside')
  if (await sandbox.files.read('/tmp/page/index.html') !== 'hello from inside') throw new Error('read')
  await sandbox.commands.run('python3 -m http.server 8000 -d /tmp/page', { background: true })
  await sandbox.commands.run('until curl -s localhost:8000 >/dev/null; do :; done')
  const page = await (await fetch(`https://${sandbox.getHost(8000)}/`)).text()
  if (page !== 'hello from inside') throw new Error(page)
  console.log('all of it')
} finally {
  await sandbox.kill()
}
"""


def test_python_sdk_in_domain_mode(tls):
    done = in_domain(tls, sys.executable, "-c", PYTHON)
    assert done.stdout == "all of it\n", done


def test_node_sdk_in_domain_mode(tls):
    if not (BUILD / "node" / "node_modules").is_dir():
        pytest.skip("there are no Node SDKs (make python)")
    script = BUILD / "node" / f"domain-{os.getpid()}.mjs"  # beside the modules that it imports
    script.write_text(NODE)
    try:
        done = in_domain(tls, "node", script)
    finally:
        script.unlink()
    assert done.stdout == "all of it\n", done


def test_the_command_in_domain_mode(tls):
    script = (f"set -e; box=$({BINARY} create); {BINARY} exec $box echo hello from inside; "
              f"{BINARY} kill $box")  # fmt: skip
    done = in_domain(tls, "bash", "-c", script)
    assert done.stdout == "hello from inside\n", done
