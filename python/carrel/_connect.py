# SPDX-License-Identifier: Apache-2.0
"""The Connect protocol, as the agent of a sandbox speaks it: unary calls, and streams of
length-prefixed messages that end with a frame of their own."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from ._endpoint import SandboxEndpoint, encode
from ._http import Response
from ._proto import decode_event, encode_request
from .errors import ConnectionLost, from_end_frame

if TYPE_CHECKING:
    from collections.abc import Callable

KEEPALIVE_SECONDS = 50  # the agent says something at least this often
SILENCE_SECONDS = 2.5 * KEEPALIVE_SECONDS  # after which a connection is dead
MESSAGE_MAX = 64 << 20
END = 2  # flag of the last frame
VERSION = {"Connect-Protocol-Version": "1"}


def as_user(user: str | None) -> dict[str, str]:
    if user is None:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:".encode()).decode()}


class Rpc:
    """The services of one agent."""

    def __init__(self, endpoint: SandboxEndpoint) -> None:
        self.endpoint = endpoint

    async def unary(
        self,
        method: str,
        message: dict[str, Any],
        user: str | None = None,
        request_timeout: float | None = None,
        again: bool = False,
    ) -> dict[str, Any]:
        """`again`: doing it twice does no harm, so a stale connection is no error."""
        endpoint = self.endpoint
        headers = {"Content-Type": "application/json", **VERSION, **as_user(user)}
        try:
            response = await endpoint.open(
                "POST", method, encode(message), headers, None, request_timeout, again
            )
            return json.loads(await response.read())
        except ConnectionLost as lost:
            raise await endpoint.explain(lost, method.rpartition("/")[2], again) from lost

    async def stream(
        self,
        method: str,
        message: dict[str, Any],
        user: str | None = None,
        timeout: float | None = None,
        request_timeout: float | None = None,
        binary: bool = False,
    ) -> MessageStream:
        """Messages are JSON, or with `binary` those of _proto.py. `timeout` is the server's limit
        for the whole stream, in seconds; 0 or None: none. Raises ConnectionLost when there is no
        answer."""
        headers = {
            "Content-Type": f"application/connect+{'proto' if binary else 'json'}",
            "Keepalive-Ping-Interval": str(KEEPALIVE_SECONDS),
            **VERSION,
            **as_user(user),
        }
        if timeout:
            headers["Connect-Timeout-Ms"] = str(max(1, round(timeout * 1000)))
        payload = encode_request(message) if binary else encode(message)
        body = b"\0" + len(payload).to_bytes(4, "big") + payload
        response = await self.endpoint.open("POST", method, body, headers, None, request_timeout)
        response.set_timeout(SILENCE_SECONDS)
        return MessageStream(response, decode_event if binary else json.loads)


class MessageStream:
    """The messages of a stream, one by one."""

    def __init__(self, response: Response, decode: Callable[[bytes], Any]) -> None:
        self.response, self.decode = response, decode
        self.data, self.at = b"", 0  # what is here of it, and how much of that is used
        self.ended = False

    async def next(self) -> dict[str, Any] | None:
        """The next message; None after the last. Raises what the last frame says went wrong, and
        ConnectionLost when there is no last frame."""
        if self.ended:
            return None
        frame = await self.frame()
        flags, payload = frame
        try:
            if not flags & END:
                return self.decode(payload)
            message = json.loads(payload) if payload else {}
        except ValueError as error:
            self.close()
            raise ConnectionLost(f"a message of the stream is no JSON: {error}") from error
        if not isinstance(message, dict):
            self.close()
            raise ConnectionLost("the last frame of the stream is no object")
        self.ended = True
        await self.response.read()  # nothing, but the connection can be used again
        if message.get("error"):
            raise from_end_frame(message["error"])
        return None

    async def frame(self) -> tuple[int, bytes]:
        while len(self.data) - self.at < 5:
            await self.more()
        flags = self.data[self.at]
        size = int.from_bytes(self.data[self.at + 1 : self.at + 5], "big")
        if size > MESSAGE_MAX:
            self.close()
            raise ConnectionLost(f"a message of {size} bytes")
        while len(self.data) - self.at < 5 + size:
            await self.more()
        begin = self.at + 5
        self.at = begin + size
        return flags, self.data[begin : self.at]

    def skip(self) -> None:
        """Drops the messages that are here already, up to the last frame."""
        while len(self.data) - self.at >= 5 and not self.data[self.at] & END:
            end = self.at + 5 + int.from_bytes(self.data[self.at + 1 : self.at + 5], "big")
            if end > len(self.data):
                return
            self.at = end

    async def more(self) -> None:
        try:
            data = await self.response.some()
        except TimeoutError as error:
            self.close()
            raise ConnectionLost("the connection has fallen silent") from error
        except BaseException:
            self.close()
            raise
        if not data:
            self.ended = True
            raise ConnectionLost("the stream was cut")
        self.data, self.at = self.data[self.at :] + data, 0

    def close(self) -> None:
        """Ends the stream on this side. May be called by another thread."""
        self.ended = True
        self.response.close()
