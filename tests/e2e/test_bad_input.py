# SPDX-License-Identifier: Apache-2.0
"""Malformed and hostile input: a clear answer or a closed connection; all else goes on."""

import contextlib
import gzip
import json
import socket
import struct
import uuid
from urllib.parse import quote

import pytest
from e2b import Sandbox

from harness import basic, envelope, eventually


@pytest.fixture(scope="module")
def other(server):
    """A bystander that nothing here may disturb."""
    sandbox = Sandbox.create(timeout=600)
    sandbox.files.write("still", "here")
    yield sandbox
    sandbox.kill()


@pytest.fixture(autouse=True)
def everything_goes_on(server, shared, other):
    pid = server.proc.pid
    children = server.children()
    yield
    assert server.proc.poll() is None and server.proc.pid == pid
    assert server.children() == children, "a process of the server was replaced"
    assert other.files.read("still") == "here"
    assert shared.commands.run("echo fine").stdout == "fine\n"
    assert Sandbox.get_info(other.sandbox_id).sandbox_id == other.sandbox_id


@pytest.fixture(scope="module")
def token(server, shared):
    return server.token(shared.sandbox_id)


def speak(server, data, half_close=True, timeout=10):
    """Sends bytes, reads to the end (or until nothing more comes)."""
    with server.connect(timeout) as sock:
        answer = b""
        try:
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
            while True:
                got = sock.recv(65536)
                if not got:
                    break
                answer += got
        except (ConnectionResetError, BrokenPipeError):
            pass
        return answer


# ---- HTTP ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: \0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
    ],
    ids=range(15),
)
def test_malformed_http(server, data):
    answer = speak(server, data)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ") or b" 505 " in answer[:20], answer[
        :200
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"POST /v2/sandboxes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"POST /v2/sandboxes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"POST /v2/sandboxes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ],
    ids=["size", "huge", "cut"],
)
def test_malformed_chunks(server, data):
    answer = speak(
        server, data.replace(b"Host: x", b"Host: x\r\nX-API-KEY: " + server.key.encode())
    )
    assert answer == b"" or answer[9:10] == b"4", answer[:200]


def test_heads_that_are_too_large(server):
    for field in (b"X: " + b"a" * 200000, b"\r\n".join(b"X%d: 1" % n for n in range(5000))):
        answer = speak(server, b"GET / HTTP/1.1\r\nHost: x\r\n" + field + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 431 ") or answer == b"", answer[:100]
    answer = speak(server, b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer[9:12] in (b"414", b"431", b"400") or answer == b"", answer[:100]


def test_silent_and_slow_connections_hold_nobody_up(server, other):
    quiet = [server.connect() for _ in range(100)]
    for n, sock in enumerate(quiet):
        if n % 2:
            sock.sendall(b"GET / HT")
    assert other.commands.run("echo served").stdout == "served\n"
    for sock in quiet:
        sock.close()


# ---- control API --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b'{"templateID":}',
        b'{"templateID":7}',
        b'{"templateID":null}',
        b'{"templateID":""}',
        b'{"templateID":"base","metadata":[]}',
        b'{"templateID":"base","metadata":{"a":1}}',
        b'{"templateID":"base","envVars":{"a":{}}}',
        b'{"templateID":"base","envVars":"x"}',
        b'{"templateID":"../../etc"}',
        b'{"templateID":"a b"}',
        b'{"templateID":"base","secure":"yes"}',
        b'\xff\xfe{"templateID":"base"}',
        b'{"templateID":"base"} trailing',
        b"[" * 100000,
        b'{"a":' * 50000,
        b'{"templateID":"base","envVars":{"A=B":"x"}}',
        b'{"templateID":"base","envVars":{"":"x"}}',
        b'{"templateID":"base","envVars":{"A":"x\\u0000y"}}',
        b'{"templateID":"ba\\u0000se"}',
        b'{"templateID":"' + b"x" * 5000 + b'"}',
    ],
    ids=range(26),
)
def test_malformed_create(server, body):
    for path in ("/sandboxes", "/v2/sandboxes"):
        if b'"secure"' in body and path != "/sandboxes":
            continue  # not a member there, so ignored
        reply = server.api("POST", path, body)
        assert reply.status in (400, 404), (body[:60], reply.text)
        error = reply.json()
        assert error["code"] == reply.status and error["message"]
        assert reply.headers["Content-Type"].startswith("application/json")


def test_body_that_is_too_long(server):
    body = json.dumps({"templateID": "base", "metadata": {"k": "x" * (64 << 20)}}).encode()
    try:
        reply = server.api("POST", "/v2/sandboxes", body)
        assert reply.status in (400, 413), reply.text
    except (ConnectionResetError, BrokenPipeError):
        pass  # said before the body was over


def test_create_cut_in_the_body(server):
    head = (
        f"POST /v2/sandboxes HTTP/1.1\r\nHost: x\r\nX-API-KEY: {server.key}\r\n"
        "Content-Length: 100\r\n\r\n"
    )
    answer = speak(server, head.encode() + b'{"templateID":"base",')
    assert answer == b"" or answer[9:12] == b"400"


# ---- RPC ----------------------------------------------------------------------------------------


STAT = "/filesystem.Filesystem/Stat"
START = "/process.Process/Start"
INPUT = "/process.Process/SendInput"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"7",
        b'{"path":7}',
        b'{"path":{}}',
        b'{"path":["/"]}',
        b"\xff\xff",
        b'{"path":"/"} x',
        b"[" * 100000,
        b'{"path":"/a\\u0000b"}',
        b'{"path":"\\ud800"}',
    ],
    ids=range(13),
)
def test_malformed_unary(server, shared, token, body):
    reply = server.rpc(shared.sandbox_id, STAT, None, token=token, raw=body)
    if body == b"":
        assert reply.status in (200, 400)
        return
    assert reply.status == 400, (body[:50], reply.text)
    assert reply.json()["code"] == "invalid_argument" and reply.json()["message"]


def test_wrong_content_type_method_and_route(server, shared, token):
    for kind in ("text/plain", "application/xml", ""):
        reply = server.rpc(shared.sandbox_id, STAT, {}, token=token, headers={"Content-Type": kind})
        assert reply.status == 415, (kind, reply.text)
    fields = {"X-Access-Token": token, "Content-Type": "application/json"}
    assert server.sandbox(shared.sandbox_id, "GET", STAT, headers=fields).status == 405
    for path in (
        "/filesystem.Filesystem/Nothing",
        "/nothing.Service/Stat",
        "/filesystem.Filesystem",
        "/nothing",
    ):
        assert server.sandbox(shared.sandbox_id, "POST", path, b"{}", fields).status == 404, path


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0",
        b"\0\0\0\0",
        b"\0\0\0\0\x05{}",
        b"\0\xff\xff\xff\xff{}",
        envelope(b""),
        envelope(b"{"),
        envelope(b"[]"),
        envelope({"process": 7}),
        envelope({"process": {"cmd": 7}}),
        envelope({"process": {"cmd": "/bin/true", "args": "x"}}),
        envelope({}, flags=1),
        envelope({"process": {"cmd": "/bin/true", "envs": [1]}}),
        envelope({}),
        envelope({}, flags=2),
        struct.pack(">BI", 0, 1 << 30) + b"{",
        envelope({"process": {"cmd": "/bin/a\0b"}}),
        envelope({"process": {"cmd": "/bin/true", "envs": {"A=B": "1"}}}),
        envelope({"process": {"cmd": "/bin/true"}}) * 2,
    ],
    ids=range(19),
)
def test_malformed_envelopes(server, shared, token, raw):
    reply, messages, end = server.rpc_stream(shared.sandbox_id, START, None, token=token, raw=raw)
    if reply.status != 200:
        assert 400 <= reply.status < 500, reply.text
    elif not messages:
        assert end["error"]["code"] and end["error"]["message"], reply.body
    else:  # understood after all: then it ran to its end
        assert end is not None


@pytest.mark.parametrize("value", ["1", "abc0d!", "====", "a" * 5, 7, {}, None])
def test_malformed_base64(server, shared, token, value):
    handle = shared.commands.run("cat", background=True, stdin=True)
    reply = server.rpc(
        shared.sandbox_id,
        INPUT,
        {"process": {"pid": handle.pid}, "input": {"stdin": value}},
        token=token,
    )
    assert reply.status == 400, (value, reply.text)
    assert reply.json()["code"] == "invalid_argument"
    handle.close_stdin()
    assert handle.wait().stdout == ""


def test_liberal_base64(server, shared, token):
    handle = shared.commands.run("cat", background=True, stdin=True)
    for value in ("-_-_", "+/+/", "YQ", "YQ=="):
        reply = server.rpc(
            shared.sandbox_id,
            INPUT,
            {"process": {"pid": handle.pid}, "input": {"stdin": value}},
            token=token,
        )
        assert reply.status == 200, (value, reply.text)
    handle.close_stdin()
    shared_output = handle.wait().stdout
    assert shared_output.endswith("aa")


def test_unknown_users(server, shared, token):
    reply = server.rpc(shared.sandbox_id, STAT, {"path": "/"}, user="stranger", token=token)
    assert reply.status == 401
    assert reply.json() == {"code": "unauthenticated", "message": "invalid username: 'stranger'"}
    reply, messages, end = server.rpc_stream(
        shared.sandbox_id, START, {"process": {"cmd": "id"}}, user="stranger", token=token
    )
    assert reply.status == 200 and not messages
    assert end["error"] == {"code": "unauthenticated", "message": "invalid username: 'stranger'"}
    reply = server.sandbox(
        shared.sandbox_id, "GET", "/files?path=/etc/hostname&username=stranger", token=token
    )
    assert reply.status == 401 and "stranger" in reply.json()["message"]
    for bad in ("Basic !!!", "Basic", "Bearer x", basic("a\0b"), basic("x" * 10000)):
        reply = server.rpc(
            shared.sandbox_id, STAT, {"path": "/"}, token=token, headers={"Authorization": bad}
        )
        assert reply.status in (200, 400, 401), reply.text


def test_user_names_are_taken_whole(server, shared, token):
    for bad in ("user\0x", "\0", "user\n", "../root", "user/x"):
        reply = server.rpc(shared.sandbox_id, STAT, {"path": "/"}, user=bad, token=token)
        assert reply.status in (400, 401), (bad, reply.text)
        path = f"/files?path=/etc/hostname&username={quote(bad)}"
        reply = server.sandbox(shared.sandbox_id, "GET", path, token=token)
        assert reply.status in (400, 401), (bad, reply.text)


def test_early_answers_reach_the_client(server, shared, token):
    """The agent refuses without reading the body, while the body is still on its way."""
    head = (
        f"POST /no.such/Method HTTP/1.1\r\nHost: x\r\nE2b-Sandbox-Id: {shared.sandbox_id}\r\n"
        f"E2b-Sandbox-Port: 49983\r\nX-Access-Token: {token}\r\n"
        "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n"
    )
    for size in (2, 100000):
        for _ in range(300):
            with server.connect() as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.sendall(head.replace("{}", str(size)).encode())
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    sock.sendall(b"x" * size)
                answer = sock.recv(4096)
            assert answer.startswith(b"HTTP/1.1 404 "), answer[:200]


def test_wrong_tokens(server, shared, token):
    for bad in ("", "x", token[:-1], token + "x"):
        reply = server.rpc(shared.sandbox_id, STAT, {"path": "/"}, token=bad or "")
        assert reply.status == 401 and reply.json()["code"] == 401, reply.text
        reply, *_ = server.rpc_stream(
            shared.sandbox_id, START, {"process": {"cmd": "id"}}, token=bad
        )
        assert reply.status == 401 and reply.json()["code"] == 401
    for path in ("/metrics", "/envs"):
        assert server.sandbox(shared.sandbox_id, "GET", path).status == 401
        assert server.sandbox(shared.sandbox_id, "GET", path, token=token).status == 200
    # another sandbox's token is as wrong as any
    second = Sandbox.create(timeout=60)
    try:
        reply = server.rpc(
            shared.sandbox_id, STAT, {"path": "/"}, token=server.token(second.sandbox_id)
        )
        assert reply.status == 401
    finally:
        second.kill()


def test_unknown_pids(server, shared, token):
    for pid in (0, 1, 4000000000):
        for method, extra in (
            ("SendSignal", {"signal": "SIGNAL_SIGKILL"}),
            ("CloseStdin", {}),
            ("SendInput", {"input": {"stdin": ""}}),
            ("Update", {"pty": {"size": {"cols": 1, "rows": 1}}}),
        ):
            reply = server.rpc(
                shared.sandbox_id,
                f"/process.Process/{method}",
                {"process": {"pid": pid}, **extra},
                token=token,
            )
            assert reply.status in (400, 404), (method, pid, reply.text)
            assert reply.json()["code"] in ("not_found", "invalid_argument")
    for pid in (-1, 1 << 32, "x", 1.5):
        reply = server.rpc(
            shared.sandbox_id,
            "/process.Process/SendSignal",
            {"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"},
            token=token,
        )
        assert reply.status == 400 and reply.json()["code"] == "invalid_argument", reply.text
    reply = server.rpc(
        shared.sandbox_id, "/process.Process/SendSignal", {"process": {}, "signal": 9}, token=token
    )
    assert reply.status in (400, 404)


def test_timeout_header(server, shared, token):
    for bad in ("x", "-1", "12345678901", "1.5"):
        reply = server.rpc(
            shared.sandbox_id, STAT, {"path": "/"}, token=token, headers={"Connect-Timeout-Ms": bad}
        )
        assert reply.status == 400 and reply.json()["code"] == "invalid_argument", (bad, reply.text)


# ---- paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/" + "x" * 256,
        "/" + "y/" * 5000,
        "/a\nb",
        "//",
        "/../../..",
        "/.",
        "/proc/self/fd/0",
        "/dev/zero/x",
    ],
)
def test_odd_paths_get_an_answer(server, shared, token, path):
    for method in ("Stat", "ListDir"):
        reply = server.rpc(
            shared.sandbox_id, f"/filesystem.Filesystem/{method}", {"path": path}, token=token
        )
        assert reply.status < 600 and (reply.status == 200 or reply.json()["message"]), reply.text


def test_files_without_a_path(server, shared, token):
    reply = server.sandbox(
        shared.sandbox_id,
        "POST",
        "/files",
        b"x",
        {"Content-Type": "application/octet-stream"},
        token=token,
    )
    assert reply.status == 400 and reply.json()["code"] == 400
    for query in ("path=%zz", "path=%00", "path=a%00b"):
        reply = server.sandbox(shared.sandbox_id, "GET", f"/files?{query}", token=token)
        assert reply.status in (400, 404), (query, reply.text)


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=x",
    ],
)
def test_upload_of_a_wrong_kind(server, shared, token, kind):
    reply = server.sandbox(
        shared.sandbox_id,
        "POST",
        "/files?path=/tmp/kind",
        b"--x--",
        {"Content-Type": kind} if kind else {},
        token=token,
    )
    assert reply.status in (400, 500), (kind, reply.text)
    assert reply.json()["code"] == reply.status
    assert not shared.files.exists("/tmp/kind")


def test_bad_metadata(server, shared, token):
    for name, value in (
        ("X-Metadata-" + "k" * 300, "v"),
        ("X-Metadata-k", "v" * 5000),
        ("X-Metadata-k", "\u00e9"),
    ):
        reply = server.sandbox(
            shared.sandbox_id,
            "POST",
            "/files?path=/tmp/meta",
            b"x",
            {"Content-Type": "application/octet-stream", name: value.encode("latin-1")},
            token=token,
        )
        assert reply.status == 400, reply.text


def test_bad_encodings(server, shared, token):
    for coding, body in (
        ("gzip", b"no gzip"),
        ("br", b"x"),
        ("gzip", gzip.compress(b"x" * 9999)[:-12]),
    ):
        reply = server.sandbox(
            shared.sandbox_id,
            "POST",
            "/files?path=/tmp/coding",
            body,
            {"Content-Type": "application/octet-stream", "Content-Encoding": coding},
            token=token,
        )
        assert 400 <= reply.status <= 500, reply.text
        assert not shared.files.exists("/tmp/coding")


# ---- bodies that are cut ------------------------------------------------------------------------


def head_for(shared, token, path, kind, framing, coding=""):
    return (
        f"POST /files?path={path} HTTP/1.1\r\nHost: x\r\nE2b-Sandbox-Id: {shared.sandbox_id}\r\n"
        f"E2b-Sandbox-Port: 49983\r\nX-Access-Token: {token}\r\nContent-Type: {kind}\r\n"
        f"{coding}{framing}\r\n\r\n"
    ).encode()


MULTIPART = (
    b'--bb\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n"
)


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("kind", ["length", "chunked", "multipart", "gzip"])
def test_a_cut_upload_leaves_nothing(server, shared, token, kind, existing):
    folder = f"/home/user/cut-{uuid.uuid4().hex[:8]}"
    shared.files.make_dir(folder)
    path = f"{folder}/target"
    if existing:
        shared.files.write(path, "as it was")
    half = b"n" * (1 << 20)
    octets = "application/octet-stream"
    if kind == "length":
        data = head_for(shared, token, path, octets, f"Content-Length: {2 << 20}") + half
    elif kind == "chunked":
        data = (
            head_for(shared, token, path, octets, "Transfer-Encoding: chunked")
            + b"%x\r\n" % len(half)
            + half
            + b"\r\n100000\r\nxxx"
        )
    elif kind == "multipart":
        data = (
            head_for(
                shared,
                token,
                path,
                "multipart/form-data; boundary=bb",
                f"Content-Length: {2 << 20}",
            )
            + MULTIPART
            + half
        )
    else:
        packed = gzip.compress(bytes(range(256)) * 40000)
        data = (
            head_for(
                shared,
                token,
                path,
                octets,
                f"Content-Length: {len(packed)}",
                "Content-Encoding: gzip\r\n",
            )
            + packed[: len(packed) // 2]
        )
    speak(server, data)

    def settled():
        names = shared.commands.run(f"ls -A {folder}").stdout.split()
        return names == (["target"] if existing else [])

    eventually(settled, 10, "a directory without remains")
    if existing:
        assert shared.files.read(path) == "as it was"
    else:
        assert not shared.files.exists(path)


def test_a_multipart_without_its_end(server, shared, token):
    body = MULTIPART + b"no closing boundary"
    reply = server.sandbox(
        shared.sandbox_id,
        "POST",
        "/files?path=/tmp/noend",
        body,
        {"Content-Type": "multipart/form-data; boundary=bb"},
        token=token,
    )
    assert reply.status in (400, 500), reply.text
    assert not shared.files.exists("/tmp/noend")


def test_clients_that_hang_up_during_downloads(server, shared, token):
    shared.commands.run("head -c 50000000 /dev/zero > /tmp/large")
    head = (
        f"GET /files?path=/tmp/large HTTP/1.1\r\nHost: x\r\nE2b-Sandbox-Id: {shared.sandbox_id}\r\n"
        f"E2b-Sandbox-Port: 49983\r\nX-Access-Token: {token}\r\n\r\n"
    ).encode()
    for _ in range(20):
        with server.connect() as sock:
            sock.sendall(head)
            assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    shared.files.remove("/tmp/large")


# ---- a hostile sandbox --------------------------------------------------------------------------


def test_an_application_that_answers_nonsense(server, shared):
    program = r"""
import socket, sys
s = socket.create_server(("127.0.0.1", 7001))
answers = [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"",
           b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100000 + b"\r\n",
           b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
           b"HTTP/1.1 101 Switching\r\n\r\n", b"HTTP/1.1 999999 x\r\n\r\n"]
print("up", flush=True)
for answer in answers:
    c, _ = s.accept()
    c.recv(65536)
    try:
        c.sendall(answer)
    except OSError:
        pass
    c.close()
"""
    shared.files.write("/tmp/nonsense.py", program)
    handle = shared.commands.run("exec python3 /tmp/nonsense.py", background=True)
    assert next(iter(handle))[0] == "up\n"
    for _ in range(7):
        reply = server.sandbox(shared.sandbox_id, "GET", "/", port=7001)
        assert reply.status >= 500, reply.text[:200]
    handle.wait()
