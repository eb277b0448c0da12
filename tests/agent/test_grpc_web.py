# SPDX-License-Identifier: Apache-2.0
"""gRPC-Web: the same services in its framing, messages encoded by Google's own protobuf."""
import json
import struct

import pytest

from conftest import envelope

pytest.importorskip("google.protobuf")
from messages import filesystem, process  # noqa: E402

PROTO, JSON = "application/grpc-web+proto", "application/grpc-web+json"


def frames(data):
    while data:
        flags, length = struct.unpack(">BI", data[:5])
        assert len(data) >= 5 + length
        yield flags, data[5:5 + length]
        data = data[5 + length:]


def trailers(payload):
    return dict(line.split(": ", 1) for line in payload.decode().split("\r\n") if line)


def exchange(agent, path, body, kind=PROTO, **headers):
    """(messages, trailers) of a whole answer."""
    answer, data = agent.request("POST", path, body, {"Content-Type": kind, **headers})
    assert answer.status == 200 and answer.headers["Content-Type"] == kind
    *messages, (flags, last) = frames(data)
    assert flags == 0x80 and all(flags == 0 for flags, _ in messages)
    return [payload for _, payload in messages], trailers(last)


def call(agent, method, request, response=None, service="filesystem.Filesystem", **more):
    messages, end = exchange(agent, f"/{service}/{method}", envelope(request.SerializeToString()), **more)
    if response is not None:
        (messages,) = [response.FromString(m) for m in messages]
    return messages, end


def test_unary(agent, tmp_path):
    (tmp_path / "f").write_text("12345")
    found, end = call(agent, "Stat", filesystem.StatRequest(path=str(tmp_path / "f")),
                      filesystem.StatResponse)
    assert found.entry.size == 5 and end == {"grpc-status": "0"}


def test_an_error_is_a_trailer(agent, tmp_path):
    messages, end = call(agent, "Stat", filesystem.StatRequest(path=str(tmp_path / "ä%\n")))
    assert messages == [] and end["grpc-status"] == "5"
    assert "%C3%A4%25%0A" in end["grpc-message"]


def test_a_stream(agent):
    request = process.StartRequest()
    request.process.cmd = "/bin/sh"
    request.process.args.extend(["-c", "echo out; echo err >&2; exit 3"])
    messages, end = call(agent, "Start", request, service="process.Process")
    events = [process.StartResponse.FromString(m).event for m in messages]
    assert end == {"grpc-status": "0"} and events[0].start.pid > 0
    assert b"".join(e.data.stdout for e in events if e.WhichOneof("one") == "data") == b"out\n"
    assert b"".join(e.data.stderr for e in events if e.WhichOneof("one") == "data") == b"err\n"
    assert events[-1].end.exit_code == 3


def test_json_in_the_same_frames(agent):
    messages, end = exchange(agent, "/process.Process/List", envelope(b"{}"), JSON)
    assert "processes" in json.loads(messages[0]) or json.loads(messages[0]) == {}
    assert end == {"grpc-status": "0"}


def test_a_time_limit(agent):
    request = process.StartRequest()
    request.process.cmd = "/bin/sleep"
    request.process.args.append("600")
    _, end = call(agent, "Start", request, service="process.Process", **{"grpc-timeout": "200m"})
    assert end["grpc-status"] == "4"


@pytest.mark.parametrize("headers, status", [
    ({"grpc-timeout": "1"}, "3"), ({"grpc-timeout": "123456789S"}, "3"), ({"grpc-timeout": "1X"}, "3"),
    ({"grpc-timeout": "-1S"}, "3"), ({"grpc-encoding": "gzip"}, "12")])
def test_fields_that_are_not_understood(agent, headers, status):
    messages, end = call(agent, "Stat", filesystem.StatRequest(path="/"), **headers)
    assert messages == [] and end["grpc-status"] == status


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0\5ab", b"\0\0\0\0\1\xff", b"\xff" * 9,
                                  envelope(b"") + envelope(b"")])
def test_bodies_that_are_not_one_message(agent, body):
    messages, end = exchange(agent, "/filesystem.Filesystem/Stat", body)
    assert messages == [] and end["grpc-status"] != "0"


def test_streams_of_requests_are_not_part_of_it(agent):
    answer, _ = agent.request("POST", "/process.Process/StreamInput", envelope(b"{}"),
                              {"Content-Type": PROTO})
    assert answer.status == 415
