# SPDX-License-Identifier: Apache-2.0
"""The binary encoding of process messages: bytes worked out by hand, and hostile ones. That it is
the server's, too, every test of a command shows."""

import random

import pytest

from carrel import InvalidArgumentException
from carrel._proto import decode_event, encode_request
from carrel.errors import ConnectionLost

OUTPUT = bytes.fromhex("0a0e 120c 0a03 616263 c03e ac02 c83e 05".replace(" ", ""))


def test_requests():
    message = {"process": {"pid": 300}, "fromOffset": "1"}
    assert encode_request(message).hex() == "0a0308ac02" + "c03e01"
    message = {
        "process": {"cmd": "c", "args": ["a", ""], "envs": {"K": "v"}, "cwd": "/"},
        "stdin": False,
    }
    config = "0a0163" + "120161" + "1200" + "1a060a014b120176" + "22012f"
    assert (
        encode_request(message).hex()
        == "0a" + f"{len(config) // 2:02x}" + config + "2000" + "c03e01"
    )
    with pytest.raises(InvalidArgumentException, match="UTF-8"):
        encode_request({"process": {"cmd": "\udcff"}})


def test_events():
    data = {"stdout": b"abc", "offset": 300, "missed": 5}
    assert decode_event(OUTPUT) == {"event": {"data": data}}
    assert decode_event(bytes.fromhex("0a040a020805")) == {"event": {"start": {"pid": 5}}}
    killed = bytes.fromhex("0a071a0508012201 78".replace(" ", ""))
    assert decode_event(killed) == {"event": {"end": {"exitCode": -1, "error": "x"}}}
    assert decode_event(bytes.fromhex("0a022200")) == decode_event(b"") == {"event": {}}
    unknown = bytes.fromhex("0d01020304" + "110102030405060708")  # of a newer server
    assert decode_event(unknown + OUTPUT) == decode_event(OUTPUT)


def test_hostile_messages():
    chance = random.Random(7)
    for _ in range(20_000):
        message = bytearray(OUTPUT)
        for _ in range(chance.randrange(1, 4)):
            message[chance.randrange(len(message))] = chance.randrange(256)
        try:
            assert "event" in decode_event(bytes(message[: chance.randrange(len(message) + 1)]))
        except ConnectionLost:
            pass
    for broken in ("0a", "0aff", "0a7f", "ff" * 30, "0b"):
        with pytest.raises(ConnectionLost):
            decode_event(bytes.fromhex(broken))
