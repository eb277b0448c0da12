# SPDX-License-Identifier: Apache-2.0
"""The same services in protobuf's binary encoding, against Google's own implementation of it."""
import os
import random
import struct

import pytest

from conftest import RpcError, envelope

pytest.importorskip("google.protobuf")
from messages import filesystem, process  # noqa: E402

UNARY, STREAM = "application/proto", "application/connect+proto"
MIB = 1 << 20


def call(agent, service, method, request, response=None, content_type=UNARY):
    package = {"process": process, "filesystem": filesystem}[service.split(".")[0]]
    body = request if isinstance(request, bytes) else request.SerializeToString()
    answer, data = agent.request("POST", f"/{service}/{method}", body, {"Content-Type": content_type})
    if answer.status != 200:
        assert answer.headers["Content-Type"] == "application/json"
        import json
        error = json.loads(data)
        raise RpcError(error["code"], error["message"])
    assert answer.headers["Content-Type"] == content_type
    return getattr(package, response or method + "Response").FromString(data)


def proc(agent, method, request, **more):
    return call(agent, "process.Process", method, request, **more)


def files(agent, method, request, **more):
    return call(agent, "filesystem.Filesystem", method, request, **more)


class BinaryStream:
    def __init__(self, agent, method, request, kind, service="process.Process"):
        self.connection = agent.connect()
        body = request if isinstance(request, bytes) else envelope(request.SerializeToString())
        self.connection.request("POST", f"/{service}/{method}", body, {"Content-Type": STREAM})
        self.response = self.connection.getresponse()
        assert self.response.status == 200 and self.response.headers["Content-Type"] == STREAM
        self.kind, self.end = kind, None

    def __iter__(self):
        return self

    def __next__(self):
        flags, length = struct.unpack(">BI", self.response.read(5))
        payload = self.response.read(length)
        if flags & 2:
            self.end = payload
            raise StopIteration
        return self.kind.FromString(payload)


def start(agent, *argv, **fields):
    request = process.StartRequest(**fields)
    request.process.cmd = argv[0]
    request.process.args.extend(argv[1:])
    stream = BinaryStream(agent, "Start", request, process.StartResponse)
    stream.pid = next(stream).event.start.pid
    assert stream.pid > 0
    return stream


def finish(stream):
    out, position = {"stdout": b"", "stderr": b"", "pty": b""}, 0
    for message in stream:
        event = message.event
        kind = event.WhichOneof("one")
        if kind == "data":
            which = event.data.WhichOneof("one")
            assert event.data.offset == position and event.data.missed == 0
            out[which] += getattr(event.data, which)
            position += len(getattr(event.data, which))
        elif kind == "end":
            end = event.end
    assert stream.end == b"{}"
    return out, end


def test_a_command(agent):
    out, end = finish(start(agent, "/bin/sh", "-c", "echo out; echo err >&2; exit 3"))
    assert (out["stdout"], out["stderr"]) == (b"out\n", b"err\n")
    assert (end.exit_code, end.exited, end.status, end.error) == (
        3, True, "exit status 3", "exit status 3")


def test_bytes_are_exact(agent, tmp_path):
    content = os.urandom(8 * MIB)
    (tmp_path / "f").write_bytes(content)
    out, end = finish(start(agent, "/bin/cat", str(tmp_path / "f")))
    assert out["stdout"] == content and end.exit_code == 0 and not end.HasField("error")


def test_input_signals_and_the_list(agent):
    stream = start(agent, "/bin/cat", tag="mine", stdin=True)
    (info,) = [p for p in proc(agent, "List", process.ListRequest()).processes
               if p.pid == stream.pid]
    assert info.tag == "mine" and info.config.cmd == "/bin/cat"
    blob = bytes(range(256)) * 40
    request = process.SendInputRequest()
    request.process.tag = "mine"
    request.input.stdin = blob
    proc(agent, "SendInput", request)
    got = b""
    while len(got) < len(blob):
        got += next(stream).event.data.stdout
    assert got == blob
    request = process.SendSignalRequest(signal=15)
    request.process.pid = stream.pid
    proc(agent, "SendSignal", request)
    out, end = finish_from(stream, len(blob))
    assert (end.exit_code, end.exited, end.status) == (-1, False, "signal: terminated")


def finish_from(stream, position):
    for message in stream:
        if message.event.WhichOneof("one") == "end":
            end = message.event.end
    return position, end


def test_environment_directory_and_terminal(agent):
    request = process.StartRequest()
    request.process.cmd = "/bin/sh"
    request.process.args.extend(["-c", "pwd; echo $A; stty size"])
    request.process.envs["A"] = "ä"
    request.process.cwd = "/usr"
    request.pty.size.cols, request.pty.size.rows = 91, 17
    stream = BinaryStream(agent, "Start", request, process.StartResponse)
    next(stream)
    out, _ = finish(stream)
    assert out["pty"] == "/usr\r\nä\r\n17 91\r\n".encode()


def test_connect_from_an_offset(agent):
    stream = start(agent, "/bin/sh", "-c", "echo one; read go; echo two", stdin=True, keep_output=True)
    assert next(stream).event.data.stdout == b"one\n"
    request = process.ConnectRequest(from_offset=1)
    request.process.pid = stream.pid
    late = BinaryStream(agent, "Connect", request, process.ConnectResponse)
    assert next(late).event.start.pid == stream.pid
    data = next(late).event.data
    assert (data.stdout, data.offset) == (b"ne\n", 1)


def test_stream_input(agent):
    stream = start(agent, "/bin/cat", stdin=True)
    first, second, third = (process.StreamInputRequest() for _ in range(3))
    first.start.process.pid = stream.pid
    second.keepalive.SetInParent()
    third.data.input.stdin = b"streamed"
    body = b"".join(envelope(m.SerializeToString()) for m in (first, second, third))
    answer = BinaryStream(agent, "StreamInput", body, process.StreamInputResponse)
    assert list(answer) == [process.StreamInputResponse()] and answer.end == b"{}"
    assert next(stream).event.data.stdout == b"streamed"
    request = process.CloseStdinRequest()
    request.process.pid = stream.pid
    proc(agent, "CloseStdin", request)


def test_errors_are_json(agent):
    request = process.SendSignalRequest(signal=9)
    request.process.pid = 4000000
    with pytest.raises(RpcError) as raised:
        proc(agent, "SendSignal", request)
    assert raised.value.code == "not_found"
    stream = BinaryStream(agent, "Connect", envelope(b"\x0a\x00"), process.ConnectResponse)
    assert list(stream) == [] and b'"invalid_argument"' in stream.end


def test_files(agent, tmp_path):
    base = str(tmp_path / "d")
    made = files(agent, "MakeDir", filesystem.MakeDirRequest(path=base)).entry
    assert (made.name, made.type, made.path, made.mode) == ("d", 2, base, 0o755)
    (tmp_path / "d" / "f").write_bytes(b"12345")
    os.utime(tmp_path / "d" / "f", ns=(0, 1700000000123456789))
    os.symlink("f", tmp_path / "d" / "l")
    entry = files(agent, "Stat", filesystem.StatRequest(path=base + "/f")).entry
    assert (entry.size, entry.type, entry.owner, entry.permissions) == (5, 1, "root", "-rw-r--r--")
    assert (entry.modified_time.seconds, entry.modified_time.nanos) == (1700000000, 123456789)
    link = files(agent, "Stat", filesystem.StatRequest(path=base + "/l")).entry
    assert link.is_symlink and link.symlink_target == base + "/f"
    names = [e.name for e in files(agent, "ListDir",
                                   filesystem.ListDirRequest(path=base)).entries]
    assert names == ["f", "l"]
    moved = files(agent, "Move", filesystem.MoveRequest(source=base + "/f", destination=base + "/g"))
    assert moved.entry.name == "g"
    files(agent, "Remove", filesystem.RemoveRequest(path=base))
    assert not os.path.exists(base)


def test_a_large_directory_comes_in_pieces(agent, tmp_path):
    for i in range(4000):
        (tmp_path / f"{i:05}-{'x' * 100}").touch()
    entries = files(agent, "ListDir", filesystem.ListDirRequest(path=str(tmp_path))).entries
    assert [e.name[:5] for e in entries] == [f"{i:05}" for i in range(4000)]
    assert len({e.path for e in entries}) == 4000


def test_watching(agent, tmp_path):
    request = filesystem.WatchDirRequest(path=str(tmp_path), include_entry=True)
    stream = BinaryStream(agent, "WatchDir", request, filesystem.WatchDirResponse,
                          "filesystem.Filesystem")
    assert next(stream).WhichOneof("one") == "start"
    (tmp_path / "new").write_text("x")
    event = next(stream).filesystem
    assert (event.name, event.type) == ("new", 1) and event.entry.path == str(tmp_path / "new")
    made = files(agent, "CreateWatcher", filesystem.CreateWatcherRequest(path=str(tmp_path)))
    (tmp_path / "two").touch()
    limit = 1000
    while limit:
        events = files(agent, "GetWatcherEvents", filesystem.GetWatcherEventsRequest(
            watcher_id=made.watcher_id)).events
        if any(e.name == "two" for e in events):
            break
        limit -= 1
    assert limit
    files(agent, "RemoveWatcher", filesystem.RemoveWatcherRequest(watcher_id=made.watcher_id))


def test_merging_as_the_encoding_wants_it(agent):
    """Fields that come twice, in pieces, in any order, and unknown ones."""
    one, two = process.StartRequest(), process.StartRequest()
    one.process.cmd = "/bin/false"
    one.process.args.append("-c")
    two.process.cmd = "/bin/sh"
    two.process.args.append("exit $A")
    two.process.envs["A"] = "9"
    unknown = b"\x9a\x06\x03abc" + b"\x90\x06\x05" + b"\x95\x06abcd" + b"\x91\x06abcdefgh"
    body = envelope(one.SerializeToString() + unknown + two.SerializeToString())
    stream = BinaryStream(agent, "Start", body, process.StartResponse)
    assert finish(stream)[1].exit_code == 9
    pid, tag = process.SendSignalRequest(signal=9), process.SendSignalRequest()
    pid.process.pid = 4000001
    tag.process.tag = "nobody"
    with pytest.raises(RpcError) as raised:
        proc(agent, "SendSignal", pid.SerializeToString() + tag.SerializeToString())
    assert "nobody" in raised.value.message


BAD = [
    b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0b", b"\x0a\x05abc", b"\x00\x00", b"\x08\x01",
    b"\x0a\x03\x08\x80\x80", b"\x80" * 11, b"\x0a\x05\x12\x03\xff\xfe\xfd", b"\x0a\x04\x12\x02a\x00",
    b"\x09abcdefgh",
]


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
def test_what_is_malformed(agent, body):
    with pytest.raises(RpcError) as raised:
        proc(agent, "CloseStdin", body)
    assert raised.value.code == "invalid_argument"


def test_random_bytes_break_nothing(agent):
    random.seed(7)
    request = process.StartRequest(tag="t")
    request.process.cmd = "/bin/true"
    request.process.args.extend(["a", "b"])
    request.process.envs["A"] = "B"
    good = request.SerializeToString()
    connection = agent.connect()
    for _ in range(300):
        body = bytearray(good)
        for _ in range(random.randrange(1, 4)):
            body[random.randrange(len(body))] = random.randrange(256)
        connection.request("POST", "/process.Process/Update", bytes(body), {"Content-Type": UNARY})
        answer = connection.getresponse()
        assert answer.status in (200, 400, 404)
        answer.read()


def test_too_many_elements(agent):
    request = process.StartRequest()
    request.process.cmd = "/bin/true"
    body = request.SerializeToString() + (b"\x0a\x02\x12\x00" * 1) + \
        b"\x0a" + varint(2 * 300000) + b"\x12\x00" * 300000
    stream = BinaryStream(agent, "Start", envelope(body), process.StartResponse)
    assert list(stream) == [] and b"too many" in stream.end


def varint(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])
