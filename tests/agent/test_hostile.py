# SPDX-License-Identifier: Apache-2.0
"""A client that wants the agent to hold as much as possible, or to do nothing else. What the agent
holds has bounds over all connections and processes, and it answers others meanwhile."""
import base64
import contextlib
import json
import os
import queue
import resource
import selectors
import socket
import threading

import pytest

from conftest import DEADLINE, RpcError, envelope
from test_odd import MIB, rss

# A sanitizer keeps what was freed, to see whether it is used again.
MEMORY_MOST = (320 if "ASAN_OPTIONS" not in os.environ else 8192) * MIB
LARGE = base64.b64encode(bytes(3 * MIB - 1000)).decode()


def half_a_request(agent, method, size, body=b"", kind="application/json"):
    s = socket.socket(socket.AF_UNIX)
    s.connect(agent.socket)  # waits while the backlog is full, as it would not with a time limit
    s.settimeout(DEADLINE)
    s.sendall(f"POST /process.Process/{method} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
              f"Content-Length: {size}\r\n\r\n".encode() + body)
    return s


def test_many_large_requests_that_never_end(own_agent):
    size = 4 * MIB
    part = b'"' + b"x" * (size - 2 * MIB)
    held = [half_a_request(own_agent, "List", size) for _ in range(100)]
    answered = selectors.DefaultSelector()
    refused = 0
    for s in held:
        try:
            s.sendall(part)
            answered.register(s, selectors.EVENT_READ)
        except (BrokenPipeError, ConnectionResetError):
            refused += 1
    while refused < 60:
        ready = answered.select(DEADLINE)
        assert ready, "no more answers"
        for key, _ in ready:
            with contextlib.suppress(ConnectionResetError):
                assert b"resource_exhausted" in key.fileobj.recv(4096)
            answered.unregister(key.fileobj)
            refused += 1
    own_agent.unary("List", {})
    assert rss(own_agent.process.pid) < MEMORY_MOST
    for s in held:
        s.close()
    # When they have gone, there is room again.
    assert own_agent.run("/bin/echo", "x" * 100000)[1]["exited"]


def test_more_connections_than_there_are(own_agent):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    held = [half_a_request(own_agent, "List", 10, b"{") for _ in range(2000)]
    assert own_agent.unary("List", {}) == {}
    for s in held:
        s.close()
    for _ in range(2000):
        half_a_request(own_agent, "Start", 1000).close()
    assert own_agent.run("/bin/true")[1]["exited"]


def test_input_that_many_processes_do_not_read(own_agent):
    streams = [own_agent.start("/bin/sleep", "1000", stdin=True) for _ in range(8)]
    codes = queue.Queue()

    def feed(stream):
        try:
            own_agent.unary("SendInput", {"process": {"pid": stream.pid},
                                          "input": {"stdin": LARGE}})
        except (RpcError, OSError) as e:
            codes.put(getattr(e, "code", "cut"))

    threads = [threading.Thread(target=feed, args=(s,), daemon=True) for s in streams * 6]
    for thread in threads:
        thread.start()
    # Of 48, no more than 64 MiB have room. The others wait until their process ends.
    for _ in range(48 - 64 // 3):
        assert codes.get(timeout=DEADLINE) in ("resource_exhausted", "cut")
    assert rss(own_agent.process.pid) < MEMORY_MOST
    for stream in streams:
        own_agent.signal(stream.pid)
        stream.finish()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    cat = own_agent.start("/bin/cat", stdin=True)
    own_agent.send(cat.pid, b"room again\n")
    assert cat.data() == b"room again\n"


def test_arguments_by_the_hundred_megabytes(own_agent):
    """Each is too long to be run, and would be remembered with its end."""
    waiting = own_agent.start("/bin/cat", stdin=True, tag="mine")
    for _ in range(25):
        stream = own_agent.start("/bin/true", *["x" * 130000] * 25)
        assert stream.finish()[1]["exitCode"] == 126
        stream.close()
    assert rss(own_agent.process.pid) < MEMORY_MOST
    assert own_agent.pids() == [waiting.pid]
    assert own_agent.attach(stream.pid).finish()[1]["exitCode"] == 126


def test_environments_by_the_hundred_megabytes(own_agent):
    """Of processes that run: there the next is refused, not the one before forgotten."""
    envs = {f"V{i}": "x" * 100000 for i in range(10)}
    streams = []
    request = {"process": {"cmd": "/bin/cat", "envs": envs}, "stdin": True}
    for _ in range(40):
        stream = own_agent.stream("Start", request)
        event = next(stream, None)
        if not event:
            break
        stream.pid = event["event"]["start"]["pid"]
        streams.append(stream)
    assert stream.end["error"]["code"] == "resource_exhausted" and len(streams) > 20
    assert len(own_agent.pids()) == len(streams)
    # Lists of it that nobody reads.
    body = b"{}"
    unread = [half_a_request(own_agent, "List", len(body), body) for _ in range(100)]
    assert own_agent.request("GET", "/health")[0].status == 204
    assert rss(own_agent.process.pid) < MEMORY_MOST
    for s in unread:
        s.close()
    for stream in streams:
        own_agent.signal(stream.pid)
        stream.finish()
    assert own_agent.run("/bin/true", envs=envs)[1]["exited"]


def test_streams_of_input_that_do_not_go_on(own_agent):
    cat = own_agent.start("/bin/sleep", "1000", stdin=True)
    start = envelope(json.dumps({"start": {"process": {"pid": cat.pid}}}).encode())
    part = b"\0\0\x3f\0\0" + b"x" * (3 * MIB)
    held = []
    for _ in range(60):
        s = half_a_request(own_agent, "StreamInput", 100 * MIB, start, "application/connect+json")
        try:
            s.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        held.append(s)
    own_agent.unary("List", {})
    assert rss(own_agent.process.pid) < MEMORY_MOST
    for s in held:
        s.close()


def test_readers_that_do_not_read(own_agent):
    """Five hundred of them on one flood: what each holds beside the spool is little."""
    flood = own_agent.sh("read go; head -c 30000000 /dev/zero", stdin=True)
    stuck = [own_agent.attach(flood.pid) for _ in range(500)]
    own_agent.send(flood.pid, b"\n")
    out, end = flood.finish()
    assert len(out["stdout"]) == 30000000 and end["exited"]
    assert rss(own_agent.process.pid) < MEMORY_MOST
    for stream in stuck:
        stream.close()
    assert own_agent.attach(flood.pid).finish()[1]["exited"]


@pytest.mark.parametrize("offset", ["18446744073709551615", "9223372036854775808",
                                    9223372036854775807, -1, 1.5, "x", "0x10"])
def test_offsets_out_of_this_world(own_agent, offset):
    stream = own_agent.start("/bin/cat", stdin=True)
    late = own_agent.stream("Connect", {"process": {"pid": stream.pid}, "fromOffset": offset})
    with pytest.raises(RpcError) as raised:
        list(late.events())
    assert raised.value.code == "invalid_argument"


def test_the_same_tag_a_hundred_times(own_agent):
    """It means the first that runs."""
    streams = [own_agent.start("/bin/cat", stdin=True, tag="same") for _ in range(100)]
    for stream in streams:
        own_agent.unary("SendInput", {"process": {"tag": "same"}, "input": {"stdin": "aGkK"}})
        assert stream.data() == b"hi\n"
        own_agent.unary("CloseStdin", {"process": {"tag": "same"}})
        assert stream.finish()[1]["exited"]
    assert own_agent.pids() == []
