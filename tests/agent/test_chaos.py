# SPDX-License-Identifier: Apache-2.0
"""The connection is cut at every byte of a counted output; who comes back has it all exactly once."""
import base64
import hashlib
import json
import socket
import struct

from conftest import DEADLINE, envelope

# 24 lines of 61 bytes, each different, in 24 writes.
COUNTED = 'i=0; while [ $i -lt 24 ]; do printf "%060d\\n" $i; i=$((i+1)); done'
EXPECTED = b"".join(b"%060d\n" % i for i in range(24))


def connect(agent, method, message):
    """Sends the request; the raw socket."""
    body = envelope(json.dumps(message).encode())
    s = socket.socket(socket.AF_UNIX)
    s.connect(agent.socket)
    s.settimeout(DEADLINE)
    s.sendall(b"POST /process.Process/%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+json"
              b"\r\nContent-Length: %d\r\n\r\n" % (method.encode(), len(body)) + body)
    return s


def read_some(s, most):
    """Reads exactly `most` bytes, or to the end of the response."""
    got = b""
    while len(got) < most and not got.endswith(b"\r\n0\r\n\r\n"):
        piece = s.recv(min(65536, most - len(got)))
        if not piece:
            break
        got += piece
    return got


def frames(raw):
    """The messages of the whole envelopes in a chunked response that may be cut anywhere."""
    _, _, rest = raw.partition(b"\r\n\r\n")
    body = b""
    while True:
        size, mark, after = rest.partition(b"\r\n")
        if not mark or not size or len(after) < int(size, 16):
            body += after[:int(size, 16)] if mark and size else b""
            break
        body += after[:int(size, 16)]
        rest = after[int(size, 16) + 2:]
    messages = []
    while len(body) >= 5:
        flags, length = struct.unpack(">BI", body[:5])
        if len(body) < 5 + length:
            break
        messages.append((flags, json.loads(body[5:5 + length])))
        body = body[5 + length:]
    return messages


class Client:
    """Collects output by offset."""

    def __init__(self):
        self.out, self.pid, self.ended = b"", None, False

    def take(self, raw):
        for flags, message in frames(raw):
            event = message.get("event", {})
            if "start" in event:
                self.pid = event["start"]["pid"]
            for kind in ("stdout", "stderr"):
                if kind in event.get("data", {}):
                    assert int(event["data"]["offset"]) == len(self.out), "missing or twice"
                    self.out += base64.b64decode(event["data"][kind])
            self.ended = self.ended or "end" in event


def test_at_every_byte(agent):
    whole = connect(agent, "Start", {"process": {"cmd": "/bin/sh", "args": ["-c", COUNTED]},
                                     "stdin": False, "keepOutput": True})
    client = Client()
    raw = read_some(whole, 1 << 20)
    client.take(raw)
    assert client.out == EXPECTED and client.ended
    # As many as the longest answer has, which is one frame for each line.
    again = connect(agent, "Connect", {"process": {"pid": client.pid}, "fromOffset": 0})
    longest = len(read_some(again, 1 << 20)) + 24 * 80
    for cut in range(1, longest, 3):
        cut_live(agent, cut)
    for cut in range(1, longest):
        cut_kept(agent, client.pid, cut)


def rest(agent, client, pid):
    s = connect(agent, "Connect", {"process": {"pid": pid}, "fromOffset": len(client.out)})
    client.take(read_some(s, 1 << 20))
    s.close()
    assert hashlib.sha256(client.out).digest() == hashlib.sha256(EXPECTED).digest()
    assert client.ended


def cut_live(agent, cut):
    """While the process writes. A client that has not even got the pid asks the list for it."""
    tag = f"cut-{cut}"
    s = connect(agent, "Start", {"process": {"cmd": "/bin/sh", "args": ["-c", COUNTED]},
                                 "tag": tag, "stdin": False, "keepOutput": True})
    client = Client()
    client.take(read_some(s, cut))
    s.close()
    follow = connect(agent, "Connect", {"process": {"tag": tag}, "fromOffset": len(client.out)})
    client.take(read_some(follow, 1 << 20))
    follow.close()
    assert client.out == EXPECTED and client.ended


def cut_kept(agent, pid, cut):
    client = Client()
    s = connect(agent, "Connect", {"process": {"pid": pid}, "fromOffset": 0})
    client.take(read_some(s, cut))
    s.close()
    rest(agent, client, pid)


def test_cut_again_and_again(agent, tmp_path):
    """A large output, a client that loses its connection after every 300 KB or so."""
    (tmp_path / "f").write_bytes(EXPECTED * 4000)
    s = connect(agent, "Start", {"process": {"cmd": "/bin/cat", "args": [str(tmp_path / "f")]},
                                 "stdin": False, "keepOutput": True})
    client = Client()
    client.take(read_some(s, 1000))
    s.close()
    cuts = 0
    while not client.ended:
        s = connect(agent, "Connect", {"process": {"pid": client.pid}, "fromOffset": len(client.out)})
        client.take(read_some(s, 300000 + 7919 * cuts))
        s.close()
        cuts += 1
    assert cuts > 10
    assert hashlib.sha256(client.out).digest() == hashlib.sha256(EXPECTED * 4000).digest()
