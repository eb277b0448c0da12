# SPDX-License-Identifier: Apache-2.0
"""Copies between this machine and a sandbox: files and whole directories, streamed.

Directories go as tar streams, links, modes and times with them. Names that come from a sandbox are
hostile: nothing is written outside the target directory.
"""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

from . import _bodies
from ._operation import call
from .entries import EntryInfo, FileType, WriteInfo
from .errors import ConnectionLost, SandboxException

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from ._http import Response


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
            "POST", path, self.user, body, headers, length, self.timeout, False
        )
        return (await self.files._written(response))[0]

    async def counted(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in body:
            await self.count(piece)
            yield piece

    async def directory(self, local: str, path: str) -> list[WriteInfo]:
        headers = {"Content-Type": "application/x-tar"}
        body = self.counted(packed(self.shell, local))
        response = await self.files._http(
            "POST", path, self.user, body, headers, None, self.timeout, False, "/tar"
        )
        reply = await self.files._reply(response)
        name = posixpath.basename(reply["path"])
        return [WriteInfo(name, FileType.DIR, reply["path"])]


async def packed(shell: Any, top: str) -> AsyncIterator[bytes]:
    """A directory as a tar stream: directories, regular files and links, in the order of their
    names. tarfile itself would want to push."""
    archive = tarfile.TarFile(fileobj=io.BytesIO(), mode="w", format=tarfile.PAX_FORMAT)
    for path, name in walk(top):
        try:
            info = archive.gettarinfo(path, name)
        except FileNotFoundError:  # removed meanwhile
            continue
        if info is None or not (info.isreg() or info.isdir() or info.issym() or info.islnk()):
            continue
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        if info.islnk():  # a second name of a file is a file of its own there
            info.type, info.linkname = tarfile.REGTYPE, ""
            info.size = os.stat(path).st_size
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if info.isreg() and info.size:
            with open(path, "rb") as file:
                async for piece in _bodies.exactly(_bodies.pieces(shell, file), info.size):
                    yield piece
            yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def walk(top: str) -> Iterator[tuple[str, str]]:
    """A directory and all below, links not followed, with names relative to it."""
    yield top, "."
    for directory, names, files in os.walk(top):
        names.sort()
        for name in sorted(names + files):
            path = os.path.join(directory, name)
            yield path, os.path.relpath(path, top).replace(os.sep, "/")


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

    @contextlib.asynccontextmanager
    async def opened(self, path: str, kind: str = "") -> AsyncIterator[Response]:
        """An answer to be read, with what may go wrong meanwhile told as it is to the user."""
        response = await self.files._http(
            "GET", path, self.user, b"", None, None, self.timeout, True, kind
        )
        try:
            yield response
        except ConnectionLost as lost:
            raise await self.files._endpoint.explain(lost, f"reading {path}", True) from lost
        except TimeoutError as error:
            raise response.silent() from error
        finally:
            response.close()

    async def stream(self, path: str, file: Any) -> None:
        async with self.opened(path) as response:
            while piece := await response.some():
                done = await self.shell.in_thread(file.write, piece)
                if hasattr(done, "__await__"):
                    await done
                await self.count(piece)

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
        """Into a temporary directory beside the target, which takes its place, or whose files take
        their places in it, once all is here."""
        local = os.path.normpath(local)
        temporary = os.path.join(os.path.dirname(local), f".carrel-{os.urandom(8).hex()}")
        os.mkdir(temporary, 0o777)
        try:
            async with self.opened(path, "/tar") as response:
                reader = TarReader(self.shell.reader(response.some), self)
                await self.shell.in_thread(unpack, reader, temporary)
            settle(temporary, local)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


class TarReader(io.RawIOBase):
    """A body as the file that tarfile reads from."""

    def __init__(self, some: Callable[[], bytes], copy: Copy) -> None:
        self.some, self.copy, self.rest = some, copy, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        pieces, left = [], size
        while left:
            piece = self.rest or self.some()
            if not piece:
                break
            self.rest = piece[left:]
            pieces.append(piece[:left])
            left -= len(pieces[-1])
        return b"".join(pieces)


def unpack(reader: TarReader, top: str) -> None:
    """Files, directories and links of an archive that may be hostile, into an empty directory.
    Links are made last, so that nothing is written through one; those leading out are left out."""
    links: list[tuple[str, str]] = []
    folders: list[tuple[str, tarfile.TarInfo]] = []
    try:
        with tarfile.open(fileobj=reader, mode="r|", errorlevel=1) as archive:
            for member in archive:
                parts = [part for part in member.name.split("/") if part not in ("", ".")]
                if ".." in parts:
                    raise SandboxException(
                        f"the sandbox sent a name that leads out: {member.name!r}"
                    )
                path = os.path.join(top, *parts)
                os.makedirs(path if member.isdir() else os.path.dirname(path), exist_ok=True)
                if member.isdir():
                    folders.append((path, member))
                elif member.isreg():
                    write(archive.extractfile(member), path, member, reader.copy)
                elif member.issym() and stays_inside(parts, member.linkname):
                    links.append((member.linkname, path))
    except tarfile.TarError as error:
        raise SandboxException(f"the sandbox sent an archive that is refused: {error}") from error
    for target, path in links:
        os.symlink(target, path)
    for path, member in reversed(folders):  # whose times writing in them has changed
        os.chmod(path, member.mode & 0o777 | 0o700)
        os.utime(path, (member.mtime, member.mtime))


def write(source: Any, path: str, member: tarfile.TarInfo, copy: Copy) -> None:
    with open(path, "wb") as file:
        while piece := source.read(_bodies.PIECE):
            file.write(piece)
            copy.bytes += len(piece)
            if copy.progress:
                copy.progress(copy.bytes)
    os.chmod(path, member.mode & 0o777 | 0o200)
    os.utime(path, (member.mtime, member.mtime))


def stays_inside(parts: list[str], target: str) -> bool:
    """Whether a link of this name leads to somewhere below the top: up first, then only down, since
    after a name that may be a link itself nobody knows what is up."""
    steps = [step for step in target.split("/") if step not in ("", ".")]
    up = 0
    while up < len(steps) and steps[up] == "..":
        up += 1
    return not target.startswith("/") and up < len(parts) and ".." not in steps[up:]


def settle(source: str, target: str) -> None:
    """Moves a directory to where it belongs, into one of the same name if there is one."""
    if not os.path.lexists(target):
        os.rename(source, target)
        return
    for entry in os.scandir(source):
        goal = os.path.join(target, entry.name)
        if entry.is_dir(follow_symlinks=False) and os.path.isdir(goal) and not os.path.islink(goal):
            settle(entry.path, goal)
        else:
            os.replace(entry.path, goal)
