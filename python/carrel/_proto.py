# SPDX-License-Identifier: Apache-2.0
"""The messages that start a process and carry its output, in protobuf's binary encoding. As JSON
the output would be base64, and decoding that would take most of the time. Messages in Python are
the same dictionaries that JSON would give, but for output, which is bytes."""

from __future__ import annotations

from typing import Any

from .errors import ConnectionLost, InvalidArgumentException

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # kinds of members
OFFSET, MISSED, FROM_OFFSET, KEEP_OUTPUT = 1000, 1001, 1000, 1000  # docs/wire.md
OUTPUTS = {1: "stdout", 2: "stderr", 3: "pty"}


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def member(number: int, value: int | str | bytes) -> bytes:
    """One member of a message: a number, a truth value, text, bytes or a message."""
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    try:
        data = value.encode() if isinstance(value, str) else value
    except UnicodeEncodeError as error:
        raise InvalidArgumentException(
            f"{value[:80]!r} is no text: the wire carries UTF-8 only"
        ) from error
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def encode_request(message: dict[str, Any]) -> bytes:
    """A StartRequest or a ConnectRequest."""
    process = message["process"]
    if "pid" in process:
        out = member(1, member(1, process["pid"]))
        return out + (
            member(FROM_OFFSET, int(message["fromOffset"])) if "fromOffset" in message else b""
        )
    config = member(1, process["cmd"])
    for argument in process.get("args", ()):
        config += member(2, argument)
    for name, value in process.get("envs", {}).items():
        config += member(3, member(1, name) + member(2, value))
    if "cwd" in process:
        config += member(4, process["cwd"])
    out = member(1, config)
    if "pty" in message:
        size = message["pty"]["size"]
        out += member(2, member(1, member(1, size["cols"]) + member(2, size["rows"])))
    if "stdin" in message:
        out += member(4, message["stdin"])
    # A break loses what is under way, which may be more than what is held unasked.
    return out + member(KEEP_OUTPUT, True)


def members(data: bytes) -> dict[int, Any]:
    """The members of a message by their numbers, the last of each: int or bytes."""
    found: dict[int, Any] = {}
    at, end = 0, len(data)
    while at < end:
        key, at = number_at(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = number_at(data, at)
            found[key >> 3] = value
        elif kind == BYTES:
            size, at = number_at(data, at)
            if size > end - at:
                raise ConnectionLost("a message of the stream is cut")
            found[key >> 3] = data[at : at + size]
            at += size
        elif kind in (FIXED32, FIXED64):
            at += 4 if kind == FIXED32 else 8
        else:
            raise ConnectionLost(f"a message of the stream has a member of kind {kind}")
    return found


def number_at(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins here, and where it ends."""
    try:
        value = data[at]
        at += 1
        if value > 127:
            value, shift = value & 127, 7
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 127) << shift
                if byte < 128:
                    break
                shift += 7
                if shift > 63:
                    raise ConnectionLost("a message of the stream has a number without an end")
        return value, at
    except IndexError:
        raise ConnectionLost("a message of the stream is cut") from None


def inner(found: dict[int, Any], number: int) -> bytes:
    """A member that is bytes, text or a message; empty if it is not there."""
    value = found.get(number, b"")
    if isinstance(value, int):
        raise ConnectionLost(f"member {number} of a message of the stream is a number")
    return value


def number_in(found: dict[int, Any], number: int) -> int:
    value = found.get(number, 0)
    if not isinstance(value, int):
        raise ConnectionLost(f"member {number} of a message of the stream is no number")
    return value


def decode_event(payload: bytes) -> dict[str, Any]:
    """A StartResponse or ConnectResponse."""
    event = members(inner(members(payload), 1))
    if 2 in event:
        data = members(inner(event, 2))
        found: dict[str, Any] = {k: inner(data, n) for n, k in OUTPUTS.items() if n in data}
        for kind, number in (("offset", OFFSET), ("missed", MISSED)):
            if number in data:
                found[kind] = number_in(data, number)
        return {"event": {"data": found}}
    if 1 in event:
        return {"event": {"start": {"pid": number_in(members(inner(event, 1)), 1)}}}
    if 3 in event:
        end = members(inner(event, 3))
        code = number_in(end, 1)
        result: dict[str, Any] = {"exitCode": code >> 1 ^ -(code & 1)}
        if 4 in end:
            result["error"] = inner(end, 4).decode(errors="replace")
        return {"event": {"end": result}}
    return {"event": {}}
