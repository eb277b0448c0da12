# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 over a stream of either shell: one exchange at a time on a connection, connections kept
for the next. No redirects, cookies, proxies or compression: the server needs none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .errors import ConnectionLost, SandboxUnreachableException, TimeoutException

if TYPE_CHECKING:
    pass

HEAD_MAX = 64 * 1024
PIECE = 256 * 1024
IDLE_MAX = 16  # connections kept for one address
IDLE_SECONDS = 300  # the server closes them after 610
CONNECT_PAUSES = (0.05, 0.2, 0.5)  # seconds before another try


class Address:
    """Where a URL points: scheme, host and port, and the path that others are put behind."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.secure = parts.scheme == "https"
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http address: {url!r}")
        self.host = parts.hostname
        self.port = parts.port or (443 if self.secure else 80)
        self.path = parts.path.rstrip("/")
        self.netloc = parts.netloc.rpartition("@")[2]
        self.key = (self.secure, self.host, self.port)

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.netloc}"


class Connection:
    """A stream and what was read of it but not used yet: `data` from `at` on. To move `at`, and not
    to cut `data`, keeps many small chunks in one piece of data cheap."""

    def __init__(self, stream: Any, key: Any) -> None:
        self.stream, self.key = stream, key
        self.data = b""
        self.at = 0
        self.used = False
        self.since = 0.0

    @property
    def rest(self) -> int:
        """How many bytes are here."""
        return len(self.data) - self.at

    async def more(self) -> None:
        """Reads some bytes behind what is here."""
        try:
            data = await self.stream.read(PIECE)
        except TimeoutError:
            raise
        except (OSError, ValueError) as error:  # a socket that another thread has closed, too
            raise ConnectionLost(f"the connection broke: {error}") from error
        if not data:
            raise ConnectionLost("the server closed the connection")
        self.data = self.data[self.at :] + data if self.rest else data
        self.at = 0

    def take(self, limit: int) -> bytes:
        """Some of the bytes that are here."""
        whole = self.at == 0 and limit >= len(self.data)
        data = self.data if whole else self.data[self.at : self.at + limit]
        self.at += len(data)
        return data

    async def until(self, mark: bytes) -> bytes:
        """All up to a mark, which is taken, too."""
        while (end := self.data.find(mark, self.at)) < 0:
            if self.rest > HEAD_MAX:
                raise ConnectionLost("a line or the head of the answer is too long")
            await self.more()
        found = self.data[self.at : end]
        self.at = end + len(mark)
        return found

    async def write(self, data: bytes | bytearray) -> None:
        try:
            await self.stream.write(data)
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionLost(f"the connection broke: {error}") from error

    async def head(self) -> tuple[int, dict[str, str]]:
        head = await self.until(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        words = status.split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise ConnectionLost(f"this is no HTTP: {status[:80]!r}")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return int(words[1]), headers


class Response:
    """An answer whose head is here. Its body is read from the connection, which goes back to the
    others once all of it was read, and is closed otherwise."""

    def __init__(self, io: Any, connection: Connection, status: int, headers: dict[str, str]):
        self.io, self.connection = io, connection
        self.status, self.headers = status, headers
        self.chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        length = headers.get("content-length", "")
        self.left: int | None = None  # bytes of the body, or of the chunk, that are still to come
        if status in (204, 304):
            self.left, self.chunked = 0, False
        elif self.chunked:
            self.left = 0
        elif length.isdigit():
            self.left = int(length)
        self.done = self.left == 0 and not self.chunked
        if self.done:
            self.release()

    async def some(self) -> bytes:
        """The next bytes of the body; b"" at its end."""
        if self.done:
            return b""
        connection = self.connection
        if self.chunked and self.left == 0:
            await self.next_chunk()
            if self.done:
                return b""
        if not connection.rest:
            try:
                await connection.more()
            except ConnectionLost:
                if self.left is not None:
                    raise
                self.done = True  # a body that ends with its connection
                self.close()
                return b""
        if self.left is None:
            return connection.take(PIECE)
        data = connection.take(self.left)
        self.left -= len(data)
        if self.left == 0:
            if not self.chunked:
                self.release()
            elif await connection.until(b"\r\n") != b"":
                raise ConnectionLost("a chunk of the answer does not end where it should")
        return data

    async def next_chunk(self) -> None:
        size = (await self.connection.until(b"\r\n")).partition(b";")[0].strip()
        try:
            self.left = int(size, 16)
        except ValueError:
            raise ConnectionLost(f"this is no size of a chunk: {size[:20]!r}") from None
        if self.left == 0:
            while await self.connection.until(b"\r\n") != b"":
                pass
            self.release()

    async def read(self) -> bytes:
        """The whole body."""
        pieces = []
        try:
            while data := await self.some():
                pieces.append(data)
        except TimeoutError as error:
            self.close()
            raise self.silent() from error
        except BaseException:
            self.close()
            raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def silent(self) -> TimeoutException:
        seconds = self.connection.stream.timeout
        return TimeoutException(f"the server sent no more of its answer in {seconds} s")

    def set_timeout(self, seconds: float | None) -> None:
        self.connection.stream.set_timeout(seconds)

    def release(self) -> None:
        self.done = True
        connection = self.connection
        idle = self.io.idle.setdefault(connection.key, [])
        if (
            self.headers.get("connection", "").lower() == "close"
            or connection.rest
            or len(idle) >= IDLE_MAX
        ):
            connection.stream.close()
            return
        connection.used, connection.since = True, time.monotonic()
        idle.append(connection)

    def close(self) -> None:
        """Gives up what was not read. The server sees a client that has gone."""
        if not self.done or self.left is None:
            self.done = True
            self.connection.stream.close()


async def open_connection(io: Any, address: Address, timeout: float | None) -> Connection:
    """A new connection. Nothing was asked yet, so trying again is safe."""
    for pause in (*CONNECT_PAUSES, None):
        try:
            stream = await io.connect(address.host, address.port, address.secure, timeout)
            return Connection(stream, address.key)
        except TimeoutError as error:
            raise SandboxUnreachableException(
                f"{address} did not take the connection in {timeout} s"
            ) from error
        except OSError as error:
            if pause is None:
                raise SandboxUnreachableException(
                    f"cannot connect to {address}: {error.strerror or error}. Is the server"
                    " running? E2B_API_URL and E2B_SANDBOX_URL say where it is"
                ) from error
        await io.sleep(pause)
    raise AssertionError


def take_idle(io: Any, key: Any) -> Connection | None:
    idle = io.idle.get(key)
    while idle:
        try:
            connection = idle.pop()
        except IndexError:  # another thread was faster
            return None
        old = time.monotonic() - connection.since > IDLE_SECONDS
        if not old and not connection.stream.stale():
            return connection
        connection.stream.close()
    return None


async def send(connection: Connection, head: bytes, body: Any, chunked: bool) -> None:
    if not isinstance(body, (bytes, bytearray)):
        await connection.write(head)
        async for piece in body:
            if piece:
                await connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            await connection.write(b"0\r\n\r\n")
    elif len(body) <= PIECE:
        await connection.write(head + body)
    else:
        await connection.write(head)
        await connection.write(body)


async def exchange(
    io: Any,
    address: Address,
    method: str,
    target: str,
    headers: dict[str, str],
    body: Any = b"",
    length: int | None = None,
    timeout: float | None = None,
    again: bool = False,
) -> Response:
    """One request, up to the head of its answer.

    `body` is bytes or an asynchronous iterator of them, whose sum is `length`; without that it is
    sent in chunks. `timeout` bounds each wait for the peer, in seconds. `again` says that doing it
    twice does no harm: then it is sent once more on a new connection if the one from the pool
    breaks before any answer.
    Raises ConnectionLost when the answer did not come.
    """
    whole = isinstance(body, (bytes, bytearray))
    chunked = not whole and length is None
    lines = [f"{method} {address.path}{target} HTTP/1.1", f"Host: {address.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    elif method != "GET":
        lines.append(f"Content-Length: {len(body) if whole else length}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    connection = take_idle(io, address.key)
    if connection is None:
        connection = await open_connection(io, address, timeout)
    while True:
        connection.stream.set_timeout(timeout)
        try:
            return await one_exchange(io, connection, head, body, chunked)
        except ConnectionLost:
            connection.stream.close()
            if not (again and whole and connection.used and not connection.rest):
                raise
            connection = await open_connection(io, address, timeout)
        except TimeoutError as error:
            connection.stream.close()
            raise TimeoutException(
                f"{method} {target.partition('?')[0]}: no answer in {timeout} s (request_timeout)"
            ) from error
        except BaseException:  # Ctrl-C, too: what comes now on this connection is nobody's
            connection.stream.close()
            raise


async def one_exchange(
    io: Any, connection: Connection, head: bytes, body: Any, chunked: bool
) -> Response:
    broken = None
    try:
        await send(connection, head, body, chunked)
    except ConnectionLost as lost:
        broken = lost  # a server that refuses a body may have said why
    try:
        status, headers = await connection.head()
        while status // 100 == 1:
            status, headers = await connection.head()
    except ConnectionLost as lost:
        raise lost from broken
    if broken:
        headers["connection"] = "close"
    return Response(io, connection, status, headers)
