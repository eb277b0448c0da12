# SPDX-License-Identifier: Apache-2.0
"""What a user gives to be written, as the body of a request: text, bytes, file-like objects and
iterables of either kind, streamed where they can be."""

from __future__ import annotations

import io
import os
import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable
    from typing import IO, Union

    WriteData = Union[str, bytes, bytearray, memoryview, IO[Any], Iterable[bytes]]
    AsyncWriteData = Union[WriteData, AsyncIterable[bytes]]

PIECE = 256 * 1024


def as_bytes(data: Any) -> bytes | None:
    """The bytes of what is in memory already; None for what is to be streamed."""
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, (bytes, bytearray)):
        return bytes(data)
    if isinstance(data, memoryview):
        return data.tobytes()
    return None


def length_of(data: Any) -> int | None:
    """How many bytes a file-like object will give; None if nobody knows."""
    if isinstance(data, io.BytesIO):
        return data.getbuffer().nbytes - data.tell()
    raw = getattr(data, "raw", data)
    if not isinstance(raw, io.FileIO):  # a text, a pipe's or an unpacking reader
        return None
    info = os.fstat(raw.fileno())
    if not stat.S_ISREG(info.st_mode) or not info.st_size:  # those of /proc have no size
        return None
    return max(0, info.st_size - data.tell())


async def pieces(shell: Any, data: Any) -> AsyncIterator[bytes]:
    """The bytes of a file-like object or an iterable, piece by piece. Reading from files goes to a
    thread where there is an event loop to hold up."""
    if hasattr(data, "__aiter__"):
        async for piece in data:
            yield piece.encode() if isinstance(piece, str) else piece
    elif hasattr(data, "read"):
        while piece := await shell.in_thread(data.read, PIECE):
            if hasattr(piece, "__await__"):
                piece = await piece
            yield piece.encode() if isinstance(piece, str) else piece
    elif hasattr(data, "__iter__"):
        for piece in data:
            yield piece.encode() if isinstance(piece, str) else piece
    else:
        raise TypeError(f"cannot write {type(data).__name__}: text, bytes or a file is expected")


async def exactly(body: AsyncIterator[bytes], length: int) -> AsyncIterator[bytes]:
    """As many bytes as were announced: a file may grow or shrink while it is sent."""
    left = length
    async for piece in body:
        yield piece[:left]
        left -= min(left, len(piece))
        if not left:
            return
    if left:
        raise OSError(f"the file ended {left} bytes before it should")


class Multipart:
    """A form with one file after another, as a body of known length where the files' are known."""

    def __init__(self, shell: Any, files: list[tuple[str, Any]]) -> None:
        boundary = os.urandom(16).hex()
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.end = f"--{boundary}--\r\n".encode()
        self.parts: list[tuple[bytes, Any, int | None]] = []
        for name, data in files:
            name = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
            head = (
                f"--{boundary}\r\n"
                f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n'
                "Content-Type: application/octet-stream\r\n\r\n"
            ).encode()
            whole = as_bytes(data)
            length = length_of(data) if whole is None else len(whole)
            self.parts.append((head, data if whole is None else whole, length))
        self.shell = shell

    def whole(self) -> bytes | None:
        """The body, if all of it is in memory."""
        if any(not isinstance(data, bytes) for _, data, _ in self.parts):
            return None
        return b"".join(head + data + b"\r\n" for head, data, _ in self.parts) + self.end

    def length(self) -> int | None:
        total = len(self.end)
        for head, _, length in self.parts:
            if length is None:
                return None
            total += len(head) + length + 2
        return total

    async def body(self) -> AsyncIterator[bytes]:
        for head, data, length in self.parts:
            yield head
            if isinstance(data, bytes):
                yield data
            else:
                body = pieces(self.shell, data)
                async for piece in body if length is None else exactly(body, length):
                    yield piece
            yield b"\r\n"
        yield self.end


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def compressed(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A body as gzip."""
    import zlib

    packer = zlib.compressobj(wbits=31)
    async for piece in body:
        for start in range(0, len(piece), 1 << 20):
            yield packer.compress(piece[start : start + (1 << 20)])
    yield packer.flush()
