# SPDX-License-Identifier: Apache-2.0
"""Something that answers requests: the control API, or one port of a sandbox. Knows its address,
the headers it wants and what its error replies mean; _connect.py adds the RPC protocol."""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

from . import _http
from ._config import AGENT_PORT, ConnectionConfig
from .errors import ConnectionLost, SandboxUnreachableException, from_reply, sandbox_gone

JSON_TYPE = {"Content-Type": "application/json"}
address = functools.lru_cache(maxsize=64)(_http.Address)


@functools.lru_cache(maxsize=None)
def user_agent() -> str:
    from . import __version__

    return f"carrel-python/{__version__} Python/{sys.version.split()[0]}"


def decode(body: bytes) -> Any:
    try:
        return json.loads(body) if body else {}
    except ValueError:
        return None


class Endpoint:
    def __init__(self, io: Any, url: str, headers: dict[str, str], config: ConnectionConfig):
        self.io, self.config = io, config
        self.address = address(url)
        self.headers = {"User-Agent": user_agent(), **headers}

    async def open(
        self,
        method: str,
        target: str,
        body: Any = b"",
        headers: dict[str, str] | None = None,
        length: int | None = None,
        request_timeout: float | None = None,
        again: bool = False,
    ) -> _http.Response:
        """A request, up to the head of its answer; raises what the answer says went wrong.
        Raises ConnectionLost when there was none."""
        timeout = self.config.seconds(request_timeout)
        headers = {**self.headers, **(headers or {})}
        response = await _http.exchange(
            self.io, self.address, method, target, headers, body, length, timeout, again
        )
        if response.status >= 300:
            reply = await response.read()
            raise from_reply(response.status, decode(reply), reply)
        return response

    async def request(
        self,
        method: str,
        target: str,
        message: Any = None,
        request_timeout: float | None = None,
        again: bool = False,
        headers: dict[str, str] | None = None,
    ) -> tuple[_http.Response, Any]:
        """A request and the JSON of its whole answer."""
        body = b""
        if message is not None:
            body, headers = encode(message), {**JSON_TYPE, **(headers or {})}
        try:
            response = await self.open(method, target, body, headers, None, request_timeout, again)
            return response, decode(await response.read())
        except ConnectionLost as lost:
            raise await self.explain(lost, f"{method} {target.partition('?')[0]}", again) from lost

    async def explain(self, lost: ConnectionLost, what: str, again: bool = False) -> Exception:
        """The exception for a connection that broke in the middle of `what`."""
        done = "" if again else "; whether it was done is unknown"
        return SandboxUnreachableException(f"{what}: {lost}{done}")


class SandboxEndpoint(Endpoint):
    """One port of a sandbox."""

    def __init__(
        self,
        io: Any,
        config: ConnectionConfig,
        sandbox_id: str,
        domain: str | None,
        port: int,
        tokens: dict[str, str],
    ) -> None:
        names = {"E2b-Sandbox-Id": sandbox_id, "E2b-Sandbox-Port": str(port)}
        url = config.url(sandbox_id, domain, port)
        super().__init__(io, url, {**names, **tokens}, config)
        self.sandbox_id = sandbox_id

    async def running(self, request_timeout: float | None = None) -> bool:
        """Whether the sandbox runs, by asking its agent."""
        headers = {**self.headers, "E2b-Sandbox-Port": str(AGENT_PORT)}
        timeout = self.config.seconds(request_timeout)
        response = await _http.exchange(
            self.io, self.address, "GET", "/health", headers, timeout=timeout, again=True
        )
        reply = await response.read()
        if response.status == 502:
            return False
        if response.status >= 300:
            raise from_reply(response.status, decode(reply), reply)
        return True

    async def explain(self, lost: ConnectionLost, what: str, again: bool = False) -> Exception:
        try:
            if not await self.running(5):
                return sandbox_gone(f"{what}: {lost}")
        except Exception:  # the first error is the one to tell
            pass
        return await super().explain(lost, what, again)


def encode(message: Any) -> bytes:
    try:
        return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        from .errors import InvalidArgumentException

        raise InvalidArgumentException(
            f"{error.object[:80]!r} is no text: the wire carries UTF-8 only"
        ) from error
