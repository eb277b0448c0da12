# SPDX-License-Identifier: Apache-2.0
"""Traffic for sandboxes: routes, tokens, relaying, upgrades, errors (protocol.md 3.1, 3.6, 7)."""
import base64
import hashlib
import json
import os
import socket
import threading
import time
from urllib.parse import quote

import pytest

from conftest import eventually
from fakes import DESTROY, FREEZE, THAW, echo, respond

NOT_FOUND = "The sandbox was not found"


def signed(token, op, path="", user="", expiration=None):
    raw = f"{path}:{op}:{user}:{token}" + (f":{expiration}" if expiration is not None else "")
    signature = "v1_" + base64.b64encode(hashlib.sha256(raw.encode()).digest()).decode().rstrip("=")
    query = f"/files?path={quote(path)}&signature={quote(signature, safe='')}"
    if user:
        query += f"&username={user}"
    return query + (f"&signature_expiration={expiration}" if expiration is not None else "")


# ---- routes -------------------------------------------------------------------------------------


def test_by_headers(server, sandbox):
    got = sandbox.request("GET", "/envs?a=%2F", headers={"X-Own": "1"}).json
    assert (got["method"], got["target"]) == ("GET", "/envs?a=%2F")
    fields = {k.lower(): v for k, v in got["fields"]}
    assert fields["host"] == f"127.0.0.1:{server.port}" and fields["x-own"] == "1"
    assert sandbox.request("GET", "/x", headers={"E2b-Sandbox-Id": sandbox.id + "-client"}).status == 200


def test_by_host_label(server, sandbox):
    sandbox.agent.ports[8080] = echo
    for host in (f"8080-{sandbox.id}.sbx.localhost:3000", f"8080-{sandbox.id}-x.any.example",
                 f"8080-{sandbox.id.upper()}.EXAMPLE"):
        reply = server.request("GET", "/page", headers={"Host": host})
        assert reply.status == 200
        assert ["Host", host] in reply.json["fields"], "kept, so that applications see their name"
    reply = server.request("GET", "/health", headers={"Host": f"49983-{sandbox.id}.sbx.localhost"})
    assert reply.status == 200 and reply.json["target"] == "/health"


@pytest.mark.parametrize("headers,text", [
    ({"E2b-Sandbox-Id": "iabc"}, "missing header"),
    ({"E2b-Sandbox-Port": "80"}, "missing header"),
    ({"E2b-Sandbox-Id": "i/../x", "E2b-Sandbox-Port": "80"}, "Invalid sandbox ID"),
    ({"E2b-Sandbox-Id": "iabc", "E2b-Sandbox-Port": "http"}, "Invalid sandbox port"),
    ({"Host": "0-iabc.localhost"}, "Invalid sandbox port"),
    ({"Host": "80-i_x.localhost"}, "Invalid sandbox ID"),
])
def test_bad_routes(server, headers, text):
    reply = server.request("GET", "/", headers=headers)
    assert (reply.status, reply.body.decode()) == (400, text)
    assert reply.headers["Content-Type"].startswith("text/plain")


def test_connect_is_refused(server, sandbox):
    stream = server.stream()
    stream.sock.sendall(f"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\nE2b-Sandbox-Id: "
                        f"{sandbox.id}\r\nE2b-Sandbox-Port: 49983\r\nX-Access-Token: {sandbox.token}"
                        "\r\n\r\n".encode())
    assert stream.head().first.startswith("HTTP/1.1 4")
    assert sandbox.agent.connections == 0


# ---- access -------------------------------------------------------------------------------------


def test_agent_needs_the_token(server, sandbox):
    for headers in ({}, {"X-Access-Token": ""}, {"X-Access-Token": sandbox.token[:-1]},
                    {"X-Access-Token": "0" * 64}):
        reply = sandbox.request("POST", "/process.Process/List", b"{}", token=False, headers=headers)
        assert reply.status == 401 and reply.message.startswith("unauthorized access")
    assert sandbox.agent.connections == 0, "nothing reaches the agent before the check"
    assert sandbox.request("GET", "/health", token=False).status == 200
    assert sandbox.request("POST", "/process.Process/List", b"{}").status == 200
    with_key = sandbox.request("GET", "/x", token=False, headers={"X-API-KEY": server.key})
    assert with_key.status == 401, "an API key opens no sandbox"


def test_internal_routes_are_hidden(sandbox):
    for path in ("/init", "/freeze", "/unfreeze", "/collapse", "/fsfreeze", "/fsthaw", "/upgrade",
                 "/%69nit", "//init"):
        reply = sandbox.request("POST", path, b"{}")
        assert reply.status == 404
        assert reply.json == {"message": "not found", "path": path, "code": 404}
    assert sandbox.agent.connections == 0


def test_signed_urls(server, sandbox):
    other = server.create()
    now = int(time.time())
    for op, method in (("read", "GET"), ("write", "POST")):
        for url in (signed(sandbox.token, op, "/tmp/ä b"), signed(sandbox.token, op),
                    signed(sandbox.token, op, "x", "root", now + 60)):
            body = b"data" if method == "POST" else None
            reply = server.request(method, url, body)
            assert reply.status == 200 and reply.json["target"] == url, "found by its signature"
            assert sandbox.request(method, url, body, token=False).status == 200
            assert other.request(method, url, body, token=False).message == "invalid signature"
    expired = signed(sandbox.token, "read", "x", expiration=now - 1)
    for reply in (server.request("GET", expired), sandbox.request("GET", expired, token=False)):
        assert reply.status == 401
        assert reply.json == {"code": 401, "message": "signature is already expired"}
    reads = signed(sandbox.token, "read", "x")
    for method, url, message in (("POST", reads, "invalid signature"),
                                 ("GET", reads.replace("path=x", "path=y"), "invalid signature"),
                                 ("GET", reads + "&username=root", "invalid signature")):
        for ask in (server.request, sandbox.request):
            more = {} if ask == server.request else {"token": False}
            reply = ask(method, url, **more)
            assert (reply.status, reply.message) == (401, message)
    reply = sandbox.request("GET", "/files?path=x", token=False)
    assert (reply.status, reply.message) == (401, "missing signature query parameter")
    reply = sandbox.request("GET", reads, token=False, headers={"X-Access-Token": "wrong"})
    assert reply.message == "access token present in header but does not match"
    assert sandbox.request("GET", "/files?path=x").status == 200
    assert server.request("GET", "/files?path=x").status == 400
    assert server.request("DELETE", reads).status == 405
    other.kill()
    assert server.request("GET", signed(other.token, "read", "x")).status == 401


def test_traffic_token(server):
    sandbox = server.create(network={"allowPublicTraffic": False})
    sandbox.agent.ports[3000] = echo
    token = sandbox.created["trafficAccessToken"]
    assert token and token != sandbox.token
    reply = sandbox.request("GET", "/", port=3000)
    assert reply.status == 403 and reply.json["sandboxId"] == sandbox.id
    assert "'e2b-traffic-access-token' is missing" in reply.json["message"]
    reply = sandbox.request("GET", "/", port=3000, headers={"e2b-traffic-access-token": "x"})
    assert reply.json["message"] == ("Provided token in header 'e2b-traffic-access-token' is invalid")
    assert sandbox.request("GET", "/", port=3000, headers={"e2b-traffic-access-token": token}
                           ).status == 200
    assert sandbox.request("GET", "/envs").status == 200
    assert sandbox.info().json["network"] == {"allowPublicTraffic": False}
    sandbox.kill()
    reply = server.api("POST", "/sandboxes", {"templateID": "base", "secure": False,
                                              "network": {"allowPublicTraffic": False}})
    assert reply.status == 400


# ---- relaying -----------------------------------------------------------------------------------


def test_what_stays_behind(server, sandbox):
    sandbox.agent.ports[3000] = echo
    got = sandbox.request("POST", "/", b"abc", port=3000, headers={
        "Connection": "close, X-Hop", "X-Hop": "1", "Keep-Alive": "5", "TE": "trailers",
        "X-API-KEY": server.key}).json
    names = {name.lower() for name, _ in got["fields"]}
    assert not names & {"x-hop", "keep-alive", "te", "x-api-key"}
    assert got["body"] == "abc"
    got = sandbox.request("GET", "/", port=3000, headers={"X-API-KEY": "the application's own"}).json
    assert ["X-API-KEY", "the application's own"] in got["fields"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_methods(sandbox, method):
    sandbox.agent.ports[3000] = echo
    reply = sandbox.request(method, "/", port=3000)
    assert reply.status == 200
    if method == "HEAD":
        assert reply.body == b"" and int(reply.headers["Content-Length"]) > 0
    else:
        assert reply.json["method"] == method


def test_bodies_in_both_forms(server, sandbox):
    body = os.urandom(3 << 20)

    def receive(stream, head):
        data = stream.body(head)
        digest = hashlib.sha256(data).hexdigest().encode()
        if head.get("x-chunked"):
            stream.sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(data), 100000):
                piece = data[at:at + 100000]
                stream.sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            stream.sock.sendall(b"0\r\n\r\n")
        else:
            respond(stream, 200, data, [("X-Digest", digest.decode())])

    for port in (49983, 3000):
        sandbox.agent.handler = sandbox.agent.ports[3000] = receive
        reply = sandbox.request("POST", "/x", body, port=port)
        assert reply.body == body and reply.headers["Content-Length"] == str(len(body))
        chunked = sandbox.request("POST", "/x", (body[i:i + 70001] for i in range(0, len(body), 70001)),
                                  port=port, headers={"X-Chunked": "1"})
        assert chunked.body == body
    sandbox.agent.handler = echo


def test_until_the_end_of_the_connection(sandbox):
    """An old server that gives no length: chunked for our client."""
    def old(stream, head):
        stream.sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    sandbox.agent.ports[3000] = old
    reply = sandbox.request("GET", "/", port=3000)
    assert reply.body == b"all of it" and reply.headers["Transfer-Encoding"] == "chunked"


def test_streams_piece_by_piece(server, sandbox):
    steps = threading.Semaphore(0)

    def stream_out(stream, head):
        stream.sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for n in range(3):
            stream.sock.sendall(b"1\r\n%d\r\n" % n)
            assert steps.acquire(timeout=10)
        stream.sock.sendall(b"0\r\n\r\n")

    sandbox.agent.handler = stream_out
    stream = server.stream()
    stream.sock.sendall(request_head("GET", "/stream", sandbox.headers()))
    assert stream.head().first == "HTTP/1.1 200 OK"
    for n, piece in enumerate(stream.chunks()):
        assert piece == b"%d" % n
        steps.release()
    assert n == 2
    sandbox.agent.handler = echo


def request_head(method, path, headers, *more):
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in headers.items()), *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def test_body_is_passed_while_it_arrives(server, sandbox):
    """Both directions at once: each piece is answered before the next is sent."""
    def pong(stream, head):
        stream.sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in stream.chunks():
            stream.sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece.upper()))
        stream.sock.sendall(b"0\r\n\r\n")

    sandbox.agent.ports[3000] = pong
    stream = server.stream()
    stream.sock.sendall(request_head("POST", "/", sandbox.headers(3000), "Transfer-Encoding: chunked"))
    stream.sock.sendall(b"1\r\na\r\n")
    assert stream.head().first == "HTTP/1.1 200 OK"
    pieces = stream.chunks()
    assert next(pieces) == b"A"
    stream.sock.sendall(b"1\r\nb\r\n")
    assert next(pieces) == b"B"
    stream.sock.sendall(b"0\r\n\r\n")
    assert list(pieces) == []


def test_expect_continue(server, sandbox):
    stream = server.stream()
    stream.sock.sendall(request_head("POST", "/files?path=x", sandbox.headers(), "Content-Length: 3",
                                     "Expect: 100-continue"))
    assert stream.head().first == "HTTP/1.1 100 Continue"
    stream.sock.sendall(b"abc")
    head = stream.head()
    assert head.first == "HTTP/1.1 200 OK" or head.first == "HTTP/1.1 200 Whatever"
    got = json.loads(stream.exactly(int(head.get("content-length"))))
    assert got["body"] == "abc" and not any(k.lower() == "expect" for k, _ in got["fields"])
    # refused before the body is asked for
    stream = server.stream()
    stream.sock.sendall(request_head("POST", "/files?path=x", {"E2b-Sandbox-Id": sandbox.id,
                                                               "E2b-Sandbox-Port": "49983"},
                                     "Content-Length: 3", "Expect: 100-continue"))
    assert stream.head().first.startswith("HTTP/1.1 401 ")


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def test_slow_readers_and_writers_cost_no_memory(server, sandbox):
    """Back-pressure: neither direction is collected in the server."""
    pushed = [0]
    stalled, over = threading.Event(), threading.Event()

    def flood(stream, head):
        stream.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 33))
        stream.sock.settimeout(1)  # not a byte taken for so long: nobody reads
        try:
            while pushed[0] < 1 << 30:
                pushed[0] += stream.sock.send(b"x" * 65536)
        except OSError:
            stalled.set()

    def refuse_to_read(stream, head):
        over.wait(20)

    before = resident(server.process.pid)
    sandbox.agent.ports[3000] = flood
    sandbox.agent.ports[3001] = refuse_to_read
    slow = server.stream()
    slow.sock.sendall(request_head("GET", "/", sandbox.headers(3000)))
    slow.head()
    fast = server.stream()
    fast.sock.sendall(request_head("POST", "/", sandbox.headers(3001), f"Content-Length: {1 << 33}"))
    fast.sock.settimeout(1)
    sent = 0
    with pytest.raises(OSError):
        while sent < 1 << 30:
            sent += fast.sock.send(b"y" * 65536)
    assert stalled.wait(10)
    over.set()
    assert pushed[0] < 64 << 20 and sent < 64 << 20
    assert resident(server.process.pid) - before < 16 << 10
    for stream in (slow, fast):
        stream.sock.close()
    assert sandbox.request("GET", "/health").status == 200


def test_client_that_goes_away(server, sandbox):
    gone = threading.Event()

    def wait_for_end(stream, head):
        stream.sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        if stream.sock.recv(1) == b"":
            gone.set()

    sandbox.agent.handler = wait_for_end
    stream = server.stream()
    stream.sock.sendall(request_head("GET", "/", sandbox.headers()))
    stream.head()
    stream.sock.close()
    assert gone.wait(10), "the sandbox sees its client's end"
    sandbox.agent.handler = echo


def test_cut_upload_is_seen_as_cut(server, sandbox):
    seen = []
    done = threading.Event()

    def receive(stream, head):
        try:
            stream.body(head)
            seen.append("whole")
        except ConnectionError:
            seen.append("cut")
        done.set()

    sandbox.agent.handler = receive
    for framing in ("Content-Length: 100", "Transfer-Encoding: chunked"):
        done.clear()
        stream = server.stream()
        stream.sock.sendall(request_head("POST", "/files?path=x", sandbox.headers(), framing) +
                            b"5\r\nhello\r\n")
        eventually(lambda: sandbox.agent.live, 10)
        stream.sock.close()
        assert done.wait(10)
    assert seen == ["cut", "cut"]
    sandbox.agent.handler = echo


def test_keep_alive_across_sandbox_and_api(server, sandbox):
    stream = server.stream()
    for head, status in ((request_head("GET", "/health", sandbox.headers()), "200"),
                         (request_head("GET", "/health", {}), "204"),
                         (request_head("GET", "/x", {"E2b-Sandbox-Id": "inone",
                                                     "E2b-Sandbox-Port": "1"}), "502"),
                         (request_head("GET", "/sandboxes", {"X-API-KEY": server.key}), "200"),
                         (request_head("GET", "/health", sandbox.headers()), "200")):
        stream.sock.sendall(head)
        answer = stream.head()
        assert answer.first.split()[1] == status
        stream.exactly(int(answer.get("content-length", 0)))


def test_mask_request_host(server):
    sandbox = server.create(network={"maskRequestHost": "localhost:${PORT}"})
    sandbox.agent.ports[3000] = echo
    host = f"3000-{sandbox.id}.sbx.localhost"
    fields = dict(server.request("GET", "/", headers={"Host": host}).json["fields"])
    assert fields["Host"] == "localhost:3000" and fields["X-Forwarded-Host"] == host
    fields = dict(sandbox.request("GET", "/x").json["fields"])
    assert fields["Host"] == f"127.0.0.1:{server.port}", "the agent is not masked"
    sandbox.kill()


# ---- upgrades -----------------------------------------------------------------------------------


def test_upgrade(server, sandbox):
    def upgrade(stream, head):
        assert head.get("upgrade") == "websocket" and head.get("connection") == "Upgrade"
        stream.sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                            b"Upgrade: websocket\r\nSec-WebSocket-Accept: yes\r\n\r\nfirst")
        while True:
            data = stream.read()
            if not data:
                return
            stream.sock.sendall(data.upper())

    sandbox.agent.ports[3000] = upgrade
    stream = server.stream()
    stream.sock.sendall(request_head("GET", "/ws", sandbox.headers(3000), "Connection: keep-alive, Upgrade",
                                     "Upgrade: websocket", "Sec-WebSocket-Key: abc") + b"early")
    head = stream.head()
    assert head.first.startswith("HTTP/1.1 101 ") and head.get("sec-websocket-accept") == "yes"
    assert head.get("upgrade") == "websocket" and head.get("content-length") is None
    assert stream.exactly(10) == b"firstEARLY"
    big = b"abc" * (1 << 20)
    sender = threading.Thread(target=stream.sock.sendall, args=(big,))
    sender.start()
    assert stream.exactly(len(big)) == big.upper()
    sender.join()
    stream.sock.shutdown(socket.SHUT_WR)
    assert stream.read() == b""


def test_refused_upgrade(server, sandbox):
    sandbox.agent.ports[3000] = lambda stream, head: respond(stream, 426, b"no")
    reply = sandbox.request("GET", "/", port=3000, headers={"Connection": "Upgrade", "Upgrade": "h2c"})
    assert (reply.status, reply.body) == (426, b"no")


def test_upgrade_that_nobody_asked_for(server, sandbox):
    sandbox.agent.ports[3000] = lambda stream, head: stream.sock.sendall(
        b"HTTP/1.1 101 Surprise\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
    reply = sandbox.request("GET", "/", port=3000)
    assert reply.status == 502 and "malformed" in reply.json["message"]


def test_kill_cuts_an_upgraded_connection(server):
    sandbox = server.create()

    def upgrade(stream, head):
        stream.sock.sendall(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        stream.sock.recv(1)

    sandbox.agent.ports[3000] = upgrade
    stream = server.stream()
    stream.sock.sendall(request_head("GET", "/", sandbox.headers(3000), "Connection: Upgrade",
                                     "Upgrade: x"))
    stream.head()
    assert sandbox.kill() == 204
    assert stream.read() == b""


# ---- errors -------------------------------------------------------------------------------------


def assert_gone(reply, sandbox_id):
    assert reply.status == 502
    assert reply.json == {"sandboxId": sandbox_id, "message": NOT_FOUND, "code": 502}


def test_unknown_and_killed(server):
    assert_gone(server.request("GET", "/health", headers={
        "E2b-Sandbox-Id": "inone", "E2b-Sandbox-Port": "49983"}), "inone")
    assert_gone(server.request("GET", "/", headers={"Host": "3000-inone.x.y"}), "inone")
    sandbox = server.create()
    assert sandbox.kill() == 204
    for port in (49983, 49999, 3000):
        assert_gone(sandbox.request("GET", "/health", port=port), sandbox.id)


def test_closed_port(sandbox):
    begin = time.monotonic()
    reply = sandbox.request("POST", "/", b"body", port=3111)
    assert reply.status == 502
    assert reply.json == {"sandboxId": sandbox.id, "port": 3111, "code": 502,
                          "message": "The sandbox is running but port is not open"}
    assert 0.9 < time.monotonic() - begin < 5, "it was tried for a while"


def test_port_that_opens_late(sandbox):
    connections = sandbox.agent.connections
    opener = threading.Thread(target=lambda: (
        eventually(lambda: sandbox.agent.connections > connections),
        sandbox.agent.ports.__setitem__(3222, echo)))
    opener.start()
    reply = sandbox.request("POST", "/", b"the whole body", port=3222)
    opener.join()
    assert reply.status == 200 and reply.json["body"] == "the whole body"


def test_page_for_browsers(server):
    browser = {"User-Agent": "Mozilla/5.0 (X11; Linux) Firefox/1", "Host": "3000-inone.sbx.localhost"}
    reply = server.request("GET", "/", headers={**browser, "Accept": "text/html"})
    assert reply.status == 502 and reply.headers["Content-Type"].startswith("text/html")
    assert NOT_FOUND in reply.body.decode()
    for more in ({"Accept": "application/json"}, {"Sec-Fetch-Mode": "cors"},
                 {"X-Requested-With": "XMLHttpRequest"}):
        assert_gone(server.request("GET", "/", headers={**browser, **more}), "inone")


@pytest.mark.parametrize("answer", [
    b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"\x00" * 100,
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
], ids=range(6))
def test_malformed_answers(server, sandbox, answer):
    def speak(stream, head):
        stream.sock.sendall(answer)

    sandbox.agent.ports[3000] = sandbox.agent.handler = speak
    reply = sandbox.request("GET", "/", port=3000)
    assert reply.status == 502 and reply.json["sandboxId"] == sandbox.id
    assert sandbox.request("GET", "/x").status == 500, "502 would say that the sandbox has ended"
    sandbox.agent.handler = echo
    assert sandbox.request("GET", "/x").status == 200


def test_answer_that_breaks_off(server, sandbox):
    def half(stream, head):
        stream.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    def nothing(stream, head):
        stream.sock.close()

    sandbox.agent.ports[3000] = half
    stream = server.stream()
    stream.sock.sendall(request_head("GET", "/", sandbox.headers(3000)))
    stream.head()
    with pytest.raises(ConnectionError):
        stream.exactly(100)
    sandbox.agent.ports[3000] = nothing
    assert sandbox.request("GET", "/", port=3000).status == 502


def test_cors_of_the_agent(server, sandbox):
    reply = sandbox.request("OPTIONS", "/process.Process/Start", token=False, headers={
        "Origin": "https://a.example", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-access-token"})
    assert reply.status == 204 and reply.headers["Access-Control-Max-Age"] == "7200"
    assert reply.headers["Access-Control-Allow-Headers"] == "authorization,x-access-token"
    reply = sandbox.request("GET", "/envs", token=False, headers={"Origin": "x"})
    assert reply.status == 401 and reply.headers["Access-Control-Allow-Origin"] == "*"
    assert sandbox.request("GET", "/envs", headers={"Origin": "x"}
                           ).headers["Access-Control-Allow-Origin"] == "*"


# ---- kill, pause, resume ------------------------------------------------------------------------


def hold(stream, head):
    stream.sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
    stream.sock.recv(1)


def start_stream(server, sandbox):
    sandbox.agent.handler = hold
    stream = server.stream()
    stream.sock.sendall(request_head("GET", "/stream", sandbox.headers()))
    stream.head()
    pieces = stream.chunks()
    assert next(pieces) == b"x"
    return stream


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_streams_are_cut_without_an_end(server, how):
    sandbox = server.create()
    stream = start_stream(server, sandbox)
    silent = server.stream()  # not answered yet
    answered = threading.Event()
    sandbox.agent.handler = lambda s, h: (answered.set(), s.sock.recv(1))
    silent.sock.sendall(request_head("GET", "/silent", sandbox.headers()))
    assert answered.wait(10)
    if how == "kill":
        assert sandbox.kill() == 204
    else:
        assert sandbox.post("pause").status == 204
    with pytest.raises(ConnectionError):
        stream.until(b"0\r\n\r\n")
    assert silent.head().first.startswith("HTTP/1.1 502 ")
    assert_gone(sandbox.request("GET", "/health"), sandbox.id)
    sandbox.kill()


def test_pause_and_resume(server):
    sandbox = server.create(timeout=100)
    assert sandbox.post("pause", {}).status == 204
    assert server.launcher.count(FREEZE, sandbox.id) == 1
    info = sandbox.info().json
    assert info["state"] == "paused"
    reply = sandbox.post("pause", {})
    assert reply.status == 409 and reply.message
    assert sandbox.post("timeout", {"timeout": 5}).status == 409
    assert_gone(sandbox.request("GET", "/health"), sandbox.id)
    assert_gone(sandbox.request("GET", "/", port=3000), sandbox.id)
    assert server.launcher.count(THAW, sandbox.id) == 0, "traffic wakes only who asked for it"
    reply = sandbox.post("connect", {"timeout": 50})
    assert reply.status == 201 and reply.json == sandbox.created, "the same tokens"
    assert server.launcher.count(THAW, sandbox.id) == 1
    assert sandbox.info().json["state"] == "running"
    assert sandbox.request("GET", "/health").status == 200
    assert sandbox.post("resume", {"timeout": 5}).status == 409
    assert sandbox.post("pause").status == 204
    assert sandbox.post("resume").status == 201
    assert sandbox.post("pause").status == 204
    assert sandbox.post("connect", {}, "/v2").status == 201
    assert sandbox.post("pause").status == 204
    assert sandbox.kill() == 204, "paused ones too"
    assert sandbox.info().status == 404


def test_auto_pause(server):
    sandbox = server.create(timeout=100, autoPause=True)
    assert sandbox.info().json["lifecycle"] == {"autoResume": False, "onTimeout": "pause"}
    assert sandbox.post("timeout", {"timeout": 0}).status == 204
    server.launcher.wait_call(FREEZE, sandbox.id)
    eventually(lambda: sandbox.info().json["state"] == "paused")
    assert server.launcher.count(DESTROY, sandbox.id) == 0
    sandbox.kill()


def test_auto_resume_by_traffic(server):
    sandbox = server.create(timeout=100, autoPause=True, autoResume={"enabled": True})
    sandbox.agent.ports[3000] = echo
    assert sandbox.info().json["lifecycle"]["autoResume"] is True

    def pause():
        assert sandbox.post("pause").status == 204

    pause()
    assert sandbox.request("GET", "/health", token=False).status == 403
    assert sandbox.request("GET", "/envs", token=False).status == 401
    assert sandbox.info().json["state"] == "paused"
    assert sandbox.request("GET", "/health").status == 200
    assert sandbox.info().json["state"] == "running"
    pause()
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(
        sandbox.request("POST", "/", b"body", port=3000))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.status for r in replies] == [200] * 5 and replies[0].json["body"] == "body"
    assert server.launcher.count(THAW, sandbox.id) == 2, "once for all of them"
    pause()
    url = signed(sandbox.token, "read", "x")
    assert server.request("GET", url).status == 200
    sandbox.kill()
