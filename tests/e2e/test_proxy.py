# SPDX-License-Identifier: Apache-2.0
"""Traffic to ports of a sandbox through the server (protocol.md section 7)."""

import hashlib
import http.client
import json
import socket
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from e2b import Sandbox
from websockets.sync.client import connect

from harness import eventually

PORT = 8080

# A server inside: says what it was asked, streams events one by one, echoes WebSocket messages.
APP = r"""
import base64, hashlib, json, os, struct, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

step = threading.Semaphore(0)

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *a):
        pass

    def say(self, data, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while True:
                size = int(self.rfile.readline(), 16)
                data += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def echo(self):
        body = self.body()
        about = {"method": self.command, "path": self.path, "headers": dict(self.headers.items()),
                 "length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        self.say(json.dumps(about).encode(), X_Custom="kept", Content_Type="application/json")

    def do_GET(self):
        if self.path == "/events":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for n in range(5):
                data = b"data: %d\n\n" % n
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                step.acquire()
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/step":
            step.release()
            self.say(b"stepped")
        elif self.path.startswith("/zeros/"):
            size = int(self.path.split("/")[2])
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            block = b"\0" * 65536
            while size > 0:
                self.wfile.write(block[:size])
                size -= len(block[:size])
        elif self.path == "/teapot":
            self.say(b"short and stout", 418)
        elif self.path == "/until-close":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"to the end")
            self.close_connection = True
        elif self.path == "/socket":
            key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            self.send_header("Sec-WebSocket-Accept", accept)
            self.end_headers()
            while True:
                head = self.rfile.read(2)
                if len(head) < 2:
                    break
                opcode, length = head[0] & 15, head[1] & 127
                if length == 126:
                    length = struct.unpack(">H", self.rfile.read(2))[0]
                elif length == 127:
                    length = struct.unpack(">Q", self.rfile.read(8))[0]
                mask = self.rfile.read(4)
                data = self.rfile.read(length)
                data = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
                out = bytes([0x80 | opcode])
                if length < 126:
                    out += bytes([length])
                elif length < 65536:
                    out += bytes([126]) + struct.pack(">H", length)
                else:
                    out += bytes([127]) + struct.pack(">Q", length)
                self.wfile.write(out + data)
                if opcode == 8:
                    break
            self.close_connection = True
        else:
            self.echo()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = echo

class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

Server((os.environ.get("BIND", "127.0.0.1"), int(os.environ["PORT"])), Handler).serve_forever()
"""


def serve(sandbox, port=PORT, bind="127.0.0.1"):
    sandbox.files.write("/tmp/app.py", APP)
    handle = sandbox.commands.run(
        "exec python3 /tmp/app.py",
        background=True,
        timeout=0,
        envs={"PORT": str(port), "BIND": bind},
    )
    eventually(lambda: f":{port} " in sandbox.commands.run("ss -Htln").stdout, what="a listener")
    return handle


@pytest.fixture(scope="module")
def app(server):
    sandbox = Sandbox.create(timeout=600)
    serve(sandbox)
    yield sandbox
    sandbox.kill()


def host(sandbox, port=PORT):
    return f"{port}-{sandbox.sandbox_id}.localhost"


def test_by_headers(server, app):
    reply = server.sandbox(app.sandbox_id, "GET", "/path/x%20y?q=1%2F2&r", port=PORT)
    assert reply.status == 200 and reply.headers["X-Custom"] == "kept"
    assert reply.json()["path"] == "/path/x%20y?q=1%2F2&r"


def test_by_host_label(server, app):
    for name in (host(app), host(app) + f":{server.address[1]}", app.get_host(PORT)):
        reply = server.request("GET", "/hi", headers={"Host": name})
        assert reply.status == 200, (name, reply.text)
        assert reply.json()["headers"]["Host"] == name, "the host is kept"


@pytest.mark.parametrize("bind", ["0.0.0.0", "::1", "::"])
def test_wherever_the_program_listens(server, app, bind):
    port = {"0.0.0.0": 8081, "::1": 8082, "::": 8083}[bind]
    handle = app.commands.run(
        f'exec python3 -c "import http.server as h, socket; S = h.ThreadingHTTPServer; '
        f"S.address_family = socket.AF_INET6 if ':' in '{bind}' else socket.AF_INET; "
        f"S(('{bind}', {port}), h.SimpleHTTPRequestHandler).serve_forever()\"",
        background=True,
    )
    eventually(lambda: f":{port} " in app.commands.run("ss -Htln").stdout, what="a listener")
    assert server.sandbox(app.sandbox_id, "GET", "/", port=port).status == 200
    handle.kill()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_methods(server, app, method):
    body = None if method == "GET" else b"body of " + method.encode()
    reply = server.sandbox(app.sandbox_id, method, "/m", body, {"X-Mine": "1"}, port=PORT)
    seen = reply.json()
    assert seen["method"] == method and seen["length"] == len(body or b"")
    assert seen["headers"]["X-Mine"] == "1"
    assert "X-Forwarded-For" not in seen["headers"]


def test_head_and_odd_status(server, app):
    assert server.sandbox(app.sandbox_id, "HEAD", "/x", port=PORT).body == b""
    reply = server.sandbox(app.sandbox_id, "GET", "/teapot", port=PORT)
    assert (reply.status, reply.body) == (418, b"short and stout")
    assert server.sandbox(app.sandbox_id, "GET", "/until-close", port=PORT).body == b"to the end"


def test_large_bodies(server, app):
    body = hashlib.shake_256(b"up").digest(1 << 20) * 32
    reply = server.sandbox(app.sandbox_id, "POST", "/up", body, port=PORT)
    assert reply.json()["sha256"] == hashlib.sha256(body).hexdigest()
    down = server.sandbox(app.sandbox_id, "GET", f"/zeros/{64 << 20}", port=PORT)
    assert len(down.body) == 64 << 20 and not any(down.body[:: 1 << 16])


def test_chunked_upload(server, app):
    connection = http.client.HTTPConnection(*server.address, timeout=20)
    connection.request(
        "POST",
        "/c",
        iter([b"one ", b"two ", b"three"]),
        encode_chunked=True,
        headers={"Transfer-Encoding": "chunked", "Host": host(app)},
    )
    assert json.loads(connection.getresponse().read())["length"] == 13
    # the same connection goes on, to another destination
    connection.request("GET", "/health")
    assert connection.getresponse().status in (200, 204)
    connection.close()


def test_keep_alive_and_pipelining(server, app):
    head = f"GET /n HTTP/1.1\r\nHost: {host(app)}\r\n\r\n".encode()
    with server.connect() as sock:
        sock.sendall(head * 3)
        data = b""
        while data.count(b"HTTP/1.1 200") < 3:
            got = sock.recv(65536)
            assert got, data
            data += got


def test_events_arrive_one_by_one(server, app):
    """Each event is sent only after the one before has been seen outside."""
    connection = http.client.HTTPConnection(*server.address, timeout=20)
    connection.request("GET", "/events", headers={"Host": host(app)})
    response = connection.getresponse()
    assert response.headers["Content-Type"] == "text/event-stream"
    for n in range(5):
        assert response.readline() == f"data: {n}\n".encode()
        assert response.readline() == b"\n"
        server.sandbox(app.sandbox_id, "GET", "/step", port=PORT)
    assert response.read() == b""
    connection.close()


def test_websocket(server, app):
    with socket.create_connection(server.address) as sock:
        with connect(f"ws://{host(app)}/socket", sock=sock, max_size=None, compression=None) as ws:
            for message in ("hello", b"\0\1\2", "ü" * 1000, b"z" * 300000):
                ws.send(message)
                assert ws.recv(timeout=20) == message
    headers = {"E2b-Sandbox-Id": app.sandbox_id, "E2b-Sandbox-Port": str(PORT)}
    with connect(
        server.url.replace("http", "ws") + "/socket", additional_headers=headers, compression=None
    ) as ws:
        ws.send("by headers")
        assert ws.recv(timeout=20) == "by headers"


def test_many_at_once(server, app):
    def one(n):
        reply = server.sandbox(app.sandbox_id, "POST", f"/{n}", b"x" * n * 1000, port=PORT)
        return reply.json()["path"], reply.json()["length"]

    with ThreadPoolExecutor(30) as pool:
        assert list(pool.map(one, range(60))) == [(f"/{n}", n * 1000) for n in range(60)]


# ---- errors -------------------------------------------------------------------------------------


def test_closed_port(server, app):
    reply = server.sandbox(app.sandbox_id, "GET", "/", port=9999)
    assert reply.status == 502
    assert reply.json() == {
        "sandboxId": app.sandbox_id,
        "port": 9999,
        "code": 502,
        "message": "The sandbox is running but port is not open",
    }


def test_dead_and_unknown_sandboxes(server, create):
    dead = create()
    dead.kill()
    for sandbox_id in (dead.sandbox_id, "i" + uuid.uuid4().hex[:19]):
        for port in (PORT, 49983):
            reply = server.sandbox(sandbox_id, "GET", "/health", port=port)
            assert reply.status == 502
            assert reply.json() == {
                "sandboxId": sandbox_id,
                "code": 502,
                "message": "The sandbox was not found",
            }
    reply = server.request("GET", "/", headers={"Host": host(dead)})
    assert reply.status == 502 and reply.json()["message"] == "The sandbox was not found"


def test_pages_for_browsers(server, app):
    agent = {
        "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
        "Accept": "text/html,application/xhtml+xml",
    }
    reply = server.sandbox(app.sandbox_id, "GET", "/", headers=agent, port=9999)
    assert reply.status == 502 and reply.headers["Content-Type"].startswith("text/html")
    assert "9999" in reply.text and "<html" in reply.text
    evil = "i" + "a" * 18
    reply = server.sandbox(evil, "GET", "/", headers=agent, port=80)
    assert reply.status == 502 and "<html" in reply.text
    for fetch in (
        {"Accept": "application/json"},
        {"Sec-Fetch-Mode": "cors"},
        {"X-Requested-With": "XMLHttpRequest"},
    ):
        reply = server.sandbox(app.sandbox_id, "GET", "/", headers={**agent, **fetch}, port=9999)
        assert reply.status == 502 and reply.json()["code"] == 502


@pytest.mark.parametrize(
    "headers",
    [
        {"E2b-Sandbox-Id": "iabc"},
        {"E2b-Sandbox-Port": "80"},
        {"E2b-Sandbox-Id": "iabc", "E2b-Sandbox-Port": "0"},
        {"E2b-Sandbox-Id": "iabc", "E2b-Sandbox-Port": "65536"},
        {"E2b-Sandbox-Id": "iabc", "E2b-Sandbox-Port": "x"},
        {"E2b-Sandbox-Id": "../../x", "E2b-Sandbox-Port": "80"},
        {"E2b-Sandbox-Id": "i" * 4000, "E2b-Sandbox-Port": "80"},
        {"Host": "99999-iabc.localhost"},
        {"Host": "80-.localhost"},
        {"Host": "80-iAB%.localhost"},
    ],
)
def test_bad_addresses(server, headers):
    assert server.request("GET", "/x", headers=headers).status == 400


def test_internal_routes_are_hidden(server, app):
    token = server.token(app.sandbox_id)
    for path in ("/init", "/freeze", "/unfreeze", "/collapse", "/upgrade"):
        for headers in ({}, {"X-Access-Token": token}):
            reply = server.sandbox(app.sandbox_id, "POST", path, b"{}", headers)
            assert reply.status == 404, (path, reply.text)
    assert app.commands.run("echo fine").stdout == "fine\n"


def test_private_traffic_needs_its_token(server, create):
    sandbox = create(network={"allow_public_traffic": False})
    assert sandbox.traffic_access_token
    serve(sandbox)
    reply = server.sandbox(sandbox.sandbox_id, "GET", "/", port=PORT)
    assert reply.status == 403 and "is missing" in reply.json()["message"]
    reply = server.sandbox(
        sandbox.sandbox_id, "GET", "/", port=PORT, headers={"e2b-traffic-access-token": "wrong"}
    )
    assert reply.status == 403 and "is invalid" in reply.json()["message"]
    reply = server.sandbox(
        sandbox.sandbox_id,
        "GET",
        "/",
        port=PORT,
        headers={"e2b-traffic-access-token": sandbox.traffic_access_token},
    )
    assert reply.status == 200
    assert sandbox.commands.run("echo fine").stdout == "fine\n"
