# SPDX-License-Identifier: Apache-2.0
"""Copies between this machine and a sandbox: files and whole directories, streamed.

Names that come from a sandbox are hostile: what would leave the target directory is refused, and
links are not made from them.
"""

from __future__ import annotations

import os
import posixpath
import stat
from typing import TYPE_CHECKING, Any

from . import _bodies
from ._operation import call
from .entries import EntryInfo, FileType, WriteInfo
from .errors import ConnectionLost, InvalidArgumentException, SandboxException

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

DEPTH_ALL = 1000
BATCH_FILES = 500  # in one request
BATCH_BYTES = 64 << 20


class Copy:
    """What copies in both directions share: for whom, and how far they are."""

    def __init__(
        self,
        files: Any,
        user: str | None,
        request_timeout: float | None,
        progress: Callable[[int], Any] | None,
    ) -> None:
        self.files, self.user, self.timeout, self.progress = files, user, request_timeout, progress
        self.shell = files._io
        self.bytes = 0

    async def count(self, piece: bytes) -> None:
        self.bytes += len(piece)
        await call(self.progress, self.bytes)


class Upload(Copy):
    async def run(self, local: Any, path: str) -> list[WriteInfo]:
        if hasattr(local, "read"):
            return [await self.file(local, path)]
        local = os.fspath(local)
        if path.endswith("/"):
            path += os.path.basename(os.path.normpath(os.fspath(local)))
        if not os.path.isdir(local):
            with open(local, "rb") as file:
                return [await self.file(file, path)]
        return await self.directory(local, path)

    async def file(self, file: Any, path: str) -> WriteInfo:
        length = _bodies.length_of(file)
        body = _bodies.pieces(self.shell, file)
        body = self.counted(body if length is None else _bodies.exactly(body, length))
        headers = {"Content-Type": "application/octet-stream"}
        response = await self.files._http(
            "POST", path, self.user, body, headers, length, self.timeout
        )
        return (await self.files._written(response))[0]

    async def counted(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in body:
            await self.count(piece)
            yield piece

    async def directory(self, local: str, path: str) -> list[WriteInfo]:
        """Many files to a request, each opened only while it is sent; empty directories by name."""
        await self.make_dir(path)
        written: list[WriteInfo] = []
        batch: list[tuple[str, Any]] = []
        size = 0
        for source, name, info in walk(local):
            target = posixpath.join(path, name)
            if stat.S_ISDIR(info.st_mode):
                await self.make_dir(target)
                continue
            batch.append((target, LocalFile(source)))
            size += info.st_size
            if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
                written += await self.batch(batch)
                batch, size = [], 0
        return written + await self.batch(batch)

    async def make_dir(self, path: str) -> None:
        try:
            await self.files._unary("MakeDir", {"path": path}, self.user, self.timeout)
        except SandboxException as error:
            if error.code != "already_exists":
                raise

    async def batch(self, batch: list[tuple[str, Any]]) -> list[WriteInfo]:
        if not batch:
            return []
        form = _bodies.Multipart(self.shell, batch)
        headers = {"Content-Type": form.content_type}
        response = await self.files._http(
            "POST", None, self.user, self.counted(form.body()), headers, None, self.timeout
        )
        return await self.files._written(response)


class LocalFile:
    """A file that is opened when its turn has come and closed at its end."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.file: Any = None

    def read(self, limit: int) -> bytes:
        if self.file is None:
            self.file = open(self.path, "rb")
        data = self.file.read(limit)
        if not data:
            self.file.close()
        return data


def walk(top: str) -> Iterator[tuple[str, str, os.stat_result]]:
    """Directories and regular files below, with their names relative to it. Links to files are
    followed, all else is left out."""
    for directory, names, files in os.walk(top):
        names.sort()
        for name in sorted(files) + names:
            path = os.path.join(directory, name)
            if name in names and os.path.islink(path):
                continue
            try:
                info = os.stat(path)
            except FileNotFoundError:  # a link to nowhere
                continue
            if stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode):
                yield path, os.path.relpath(path, top).replace(os.sep, "/"), info


class Download(Copy):
    async def run(self, path: str, local: Any) -> int:
        if hasattr(local, "write"):
            await self.stream(path, local)
            return self.bytes
        local = os.fspath(local)
        info = await self.files._unary("Stat", {"path": path}, self.user, self.timeout, True)
        entry = EntryInfo.from_dict(info["entry"])
        if os.path.isdir(local) and not entry.is_dir or local.endswith(os.sep):
            local = os.path.join(local, posixpath.basename(entry.path))
        if entry.is_dir:
            await self.directory(entry.path, local)
        else:
            await self.file(path, local)
        return self.bytes

    async def stream(self, path: str, file: Any) -> None:
        response = await self.files._http(
            "GET", path, self.user, b"", None, None, self.timeout, True
        )
        try:
            while piece := await response.some():
                done = await self.shell.in_thread(file.write, piece)
                if hasattr(done, "__await__"):
                    await done
                await self.count(piece)
        except ConnectionLost as lost:
            raise await self.files._endpoint.explain(lost, f"reading {path}", True) from lost
        except TimeoutError as error:
            raise response.silent() from error
        finally:
            response.close()

    async def file(self, path: str, local: str, mode: int = 0o666) -> None:
        """Into a temporary file beside the target, which takes its place when it is whole."""
        temporary = os.path.join(os.path.dirname(local), f".carrel-{os.urandom(8).hex()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, mode)
        try:
            with open(descriptor, "wb") as file:
                await self.stream(path, file)
            os.replace(temporary, local)
        except BaseException:  # Ctrl-C, too
            os.unlink(temporary)
            raise

    async def directory(self, path: str, local: str) -> None:
        reply = await self.files._unary(
            "ListDir", {"path": path, "depth": DEPTH_ALL}, self.user, self.timeout, True
        )
        os.makedirs(local, exist_ok=True)
        for entry in map(EntryInfo.from_dict, reply.get("entries", ())):
            target = os.path.join(local, *inside(path, entry.path))
            if entry.type == FileType.DIR and not entry.symlink_target:
                os.makedirs(target, exist_ok=True)
            elif entry.type == FileType.FILE:
                await self.file(entry.path, target, entry.mode & 0o777 | 0o200)


def inside(top: str, path: str) -> list[str]:
    """The parts of `path` below `top`; refuses what would lead elsewhere."""
    name = posixpath.relpath(path, top)
    parts = name.split("/")
    if not path.startswith("/") or ".." in parts or any(os.sep in part for part in parts):
        raise SandboxException(f"the sandbox names a file that is not below {top}: {path!r}")
    if "\N{REPLACEMENT CHARACTER}" in name:
        raise InvalidArgumentException(
            f"{path!r}: a name that is not UTF-8 cannot be copied by name"
        )
    return parts
