# SPDX-License-Identifier: Apache-2.0
"""What a peer may send that is no request: envelopes, JSON, lengths, encodings."""
import json
import socket

import pytest
from conftest import DEADLINE, envelope, refused

GOOD = json.dumps({"process": {"cmd": "/bin/true"}}).encode()


def stream_error(agent, body, headers=None):
    stream = agent.stream("Start", body, headers)
    assert list(stream) == []
    return stream.end["error"]["code"]


@pytest.mark.parametrize("body", [
    b"", b"\0", b"\0\0\0\0", b"\0\0\0\0\5{}", envelope(GOOD)[:-1], envelope(GOOD) + envelope(GOOD),
    envelope(GOOD) + b"x", envelope(GOOD, 1), envelope(b"{}", 2), envelope(b""), envelope(b"null"),
    envelope(b"[]"), envelope(b"{"), envelope(b'{"process":1}'), envelope(b"{}"),
    envelope(b'{"process":{}}'), envelope(b'{"process":{"cmd":""}}'),
    envelope(b'{"process":{"cmd":"a","args":["b",1]}}'),
    envelope(b'{"process":{"cmd":"a","args":{}}}'),
    envelope(b'{"process":{"cmd":"a\\u0000b"}}'), envelope(b'{"process":{"cmd":"\xff"}}'),
    envelope(b'{"process":{"cmd":"a","envs":{"A=B":"c"}}}'),
    envelope(b'{"process":{"cmd":"a","envs":{"":"c"}}}'),
    envelope(b'{"process":{"cmd":"a","envs":{"A":1}}}'),
    envelope(b'{"process":{"cmd":"a"},"stdin":"yes"}'),
    envelope(b'{"process":{"cmd":"a"},"pty":{"size":{"cols":-1}}}'),
    envelope(b'{"process":{"cmd":"a"},"pty":[]}'),
    envelope(b"[" * 100000),
])
def test_malformed_start(agent, body):
    assert stream_error(agent, body) == "invalid_argument"


def test_an_end_envelope_behind_the_message_is_tolerated(agent):
    stream = agent.stream("Start", envelope(GOOD) + envelope(b"{}", 2)).started()
    assert stream.finish()[1]["exited"]


def test_too_long(agent):
    big = b'{"x":"' + b"a" * (5 << 20) + b'"}'
    assert stream_error(agent, b"\0\x7f\xff\xff\xff{}") == "resource_exhausted"
    assert stream_error(agent, envelope(big)) == "resource_exhausted"
    refused(lambda: agent.unary("List", big), "resource_exhausted")


def test_large_but_allowed(agent):
    args = ["a" * 1000] * 1500
    out, end = agent.run("/bin/sh", "-c", "echo $#", "sh", *args)
    assert out["stdout"] == b"1500\n"


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'"x"', b'{"a":}', b"{}x", b"\xff"])
def test_malformed_unary(agent, body):
    refused(lambda: agent.unary("List", body), "invalid_argument")


@pytest.mark.parametrize("selector", [None, {}, {"pid": -1}, {"pid": "x"}, {"pid": 4294967296},
                                      {"pid": 1.5}, {"pid": 1, "tag": "a"}, {"tag": 1}, [], "1"])
def test_malformed_selector(agent, selector):
    refused(lambda: agent.unary("CloseStdin", {"process": selector}), "invalid_argument")


@pytest.mark.parametrize("pid", ["999999", 999999.0, 999999])
def test_numbers_in_every_dress(agent, pid):
    refused(lambda: agent.unary("CloseStdin", {"process": {"pid": pid}}), "not_found")


def test_compression_is_refused_identity_is_not(agent):
    assert stream_error(agent, envelope(GOOD), {"Connect-Content-Encoding": "gzip"}) == "unimplemented"
    refused(lambda: agent.unary("List", {}, {"Content-Encoding": "br"}), "unimplemented")
    agent.unary("List", {}, {"Content-Encoding": "identity", "Accept-Encoding": "identity"})
    stream = agent.stream("Start", envelope(GOOD), {"Connect-Content-Encoding": "identity"})
    assert stream.started().finish()[1]["exited"]


def test_protocol_version(agent):
    refused(lambda: agent.unary("List", {}, {"Connect-Protocol-Version": "2"}), "invalid_argument")


def test_a_chunked_message(agent):
    body = envelope(GOOD)
    connection = agent.connect()
    connection.request("POST", "/process.Process/Start", iter([body[:3], body[3:9], body[9:]]),
                       {"Content-Type": "application/connect+json"}, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 200 and b"exit status 0" in response.read()


def test_requests_cut_at_every_byte(agent):
    body = envelope(GOOD)
    request = (b"POST /process.Process/Start HTTP/1.1\r\nHost: x\r\nContent-Type: "
               b"application/connect+json\r\nContent-Length: %d\r\n\r\n" % len(body)) + body
    for cut in range(0, len(request), 3):
        s = socket.socket(socket.AF_UNIX)
        s.connect(agent.socket)
        s.settimeout(DEADLINE)
        s.sendall(request[:cut])
        s.close()
    assert agent.request("GET", "/health")[0].status == 204
    assert agent.unary("List", {}) == {}


def test_error_texts_say_where(agent):
    message = refused(lambda: agent.unary("List", b'{"a":}'), "invalid_argument")
    assert "byte" in message
    stream = agent.stream("Start", envelope(b'{"process":{"cmd":"a","args":["b",1]}}'))
    list(stream)
    assert "args[1]" in stream.end["error"]["message"]
