# SPDX-License-Identifier: Apache-2.0
"""Files of a sandbox. Paths are absolute or relative to the user's home; `user` says whose rights
and home count, the sandbox's default user when it is not given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from . import _bodies
from ._connect import Rpc
from ._endpoint import decode
from ._operation import Awaiting, Blocking, finish, operation
from .entries import EntryInfo, WriteInfo
from .errors import (
    ConnectionLost,
    FileNotFoundException,
    InvalidArgumentException,
    NotFoundException,
    SandboxException,
)
from .watching import AsyncWatcher, Watcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Literal

    from ._bodies import AsyncWriteData
    from ._endpoint import SandboxEndpoint
    from ._http import Response
    from .entries import FilesystemEvent

SERVICE = "/filesystem.Filesystem/"


class _Files:
    _io: Any
    _watcher: Any
    _stream: Any

    def __init__(self, endpoint: SandboxEndpoint) -> None:
        self._endpoint = endpoint
        self._rpc = Rpc(endpoint)

    async def _unary(self, method: str, message: Any, user: str | None, *args: Any) -> Any:
        try:
            return await self._rpc.unary(SERVICE + method, message, user, *args)
        except FileNotFoundException:
            raise
        except NotFoundException as error:
            raise file_not_found(error) from None

    async def _http(
        self,
        method: str,
        path: str | None,
        user: str | None,
        body: Any,
        headers: dict[str, str] | None,
        length: int | None,
        request_timeout: float | None,
        again: bool,
        kind: str = "",
    ) -> Response:
        query = {"path": path, "username": user}
        given = {name: value for name, value in query.items() if value is not None}
        try:
            target = f"/files{kind}?" + urlencode(given, quote_via=quote, safe="/")
        except UnicodeEncodeError as error:
            raise InvalidArgumentException(
                f"{path!r} is no text: paths on the wire are UTF-8"
            ) from error
        try:
            return await self._endpoint.open(
                method, target, body, headers, length, request_timeout, again
            )
        except ConnectionLost as lost:
            raise await self._endpoint.explain(lost, f"{method} {path}", again) from lost
        except NotFoundException as error:
            raise file_not_found(error) from None

    # ---- content ----

    @operation
    async def read(
        self,
        path: str,
        format: Literal["text", "bytes", "stream"] = "text",
        user: str | None = None,
        request_timeout: float | None = None,
        gzip: bool = False,
        stream_idle_timeout: float | None = None,
    ) -> Any:
        """The content of a file: `str` (UTF-8), `bytes`, or with "stream" an iterator of bytes that
        reads no more than it is asked for. `request_timeout` bounds each wait, not the whole."""
        response = await self._http("GET", path, user, b"", None, None, request_timeout, True)
        if format == "stream":
            if stream_idle_timeout is not None:
                response.set_timeout(stream_idle_timeout or None)
            return self._stream(response, self._endpoint, path)
        try:
            data = await response.read()
        except ConnectionLost as lost:
            raise await self._endpoint.explain(lost, f"reading {path}", True) from lost
        return data if format == "bytes" else data.decode(errors="replace")

    @operation
    async def write(
        self,
        path: str,
        data: AsyncWriteData,
        user: str | None = None,
        request_timeout: float | None = None,
        gzip: bool = False,
        use_octet_stream: bool | None = None,
        metadata: dict[str, str] | None = None,
    ) -> WriteInfo:
        """Writes a file as a whole: text, bytes, a file-like object or an iterable of bytes, which
        are streamed. Missing directories are made. When it fails, the old file is as it was.
        `gzip` compresses on the way; `metadata` is stored with the file."""
        headers = {"Content-Type": "application/octet-stream", **metadata_headers(metadata)}
        body: Any = _bodies.as_bytes(data)
        length = None
        if gzip:
            headers["Content-Encoding"] = "gzip"
            source = _bodies.once(body) if body is not None else _bodies.pieces(self._io, data)
            body = _bodies.compressed(source)
        elif body is None:
            length = _bodies.length_of(data)
            body = _bodies.pieces(self._io, data)
            body = body if length is None else _bodies.exactly(body, length)
        again = isinstance(body, bytes)
        response = await self._http(
            "POST", path, user, body, headers, length, request_timeout, again
        )
        return (await self._written(response))[0]

    @operation
    async def write_files(
        self,
        files: list[dict[str, Any]],
        user: str | None = None,
        request_timeout: float | None = None,
        gzip: bool = False,
        use_octet_stream: bool | None = None,
        metadata: dict[str, str] | None = None,
    ) -> list[WriteInfo]:
        """Writes many files, each `{"path": …, "data": …}`, in one request."""
        if not files:
            return []
        form = _bodies.Multipart(self._io, [(file["path"], file["data"]) for file in files])
        headers = {"Content-Type": form.content_type, **metadata_headers(metadata)}
        body: Any = form.whole()
        length = None if gzip or body is not None else form.length()
        body = form.body() if body is None else body
        if gzip:
            headers["Content-Encoding"] = "gzip"
            body = _bodies.compressed(_bodies.once(body) if isinstance(body, bytes) else body)
        again = isinstance(body, bytes)
        response = await self._http(
            "POST", None, user, body, headers, length, request_timeout, again
        )
        return await self._written(response)

    async def _reply(self, response: Response) -> Any:
        try:
            return decode(await response.read())
        except ConnectionLost as lost:
            raise await self._endpoint.explain(lost, "writing") from lost

    async def _written(self, response: Response) -> list[WriteInfo]:
        reply = await self._reply(response)
        if not isinstance(reply, list) or not reply:
            raise SandboxException("the agent did not say what it wrote")
        return [WriteInfo.from_dict(entry) for entry in reply]

    @operation
    async def upload(
        self,
        local: Any,
        path: str,
        user: str | None = None,
        request_timeout: float | None = None,
        progress: Callable[[int], Any] | None = None,
    ) -> list[WriteInfo]:
        """Copies a local file or directory to `path`; into it, when `path` ends with a slash.
        `local` is a path or a file-like object. In a directory links are copied as links, and modes
        and times are kept. `progress` is called with the bytes sent so far."""
        from ._transfer import Upload

        return await Upload(self, user, request_timeout, progress).run(local, path)

    @operation
    async def download(
        self,
        path: str,
        local: Any,
        user: str | None = None,
        request_timeout: float | None = None,
        progress: Callable[[int], Any] | None = None,
    ) -> int:
        """Copies a file or directory of the sandbox to `local`, a path or a file-like object, and
        returns how many bytes its files have. A local file or directory appears whole or not at
        all; links that lead out of a directory are left out. `progress` is called with the bytes
        received so far."""
        from ._transfer import Download

        return await Download(self, user, request_timeout, progress).run(path, local)

    # ---- directories ----

    @operation
    async def list(
        self,
        path: str,
        depth: int | None = 1,
        user: str | None = None,
        request_timeout: float | None = None,
    ) -> list[EntryInfo]:
        """What is in a directory, and with `depth` so many levels of what is below."""
        if depth is not None and depth < 1:
            raise InvalidArgumentException("depth is 1 or more")
        message = {"path": path, "depth": depth or 1}
        reply = await self._unary("ListDir", message, user, request_timeout, True)
        entries = map(EntryInfo.from_dict, reply.get("entries", ()))
        return [entry for entry in entries if entry.type is not None]

    @operation
    async def get_info(
        self, path: str, user: str | None = None, request_timeout: float | None = None
    ) -> EntryInfo:
        """A file or directory itself. Raises FileNotFoundException."""
        reply = await self._unary("Stat", {"path": path}, user, request_timeout, True)
        return EntryInfo.from_dict(reply.get("entry", {}))

    @operation
    async def exists(
        self, path: str, user: str | None = None, request_timeout: float | None = None
    ) -> bool:
        """Whether there is a file or directory of this name."""
        try:
            await self._unary("Stat", {"path": path}, user, request_timeout, True)
        except FileNotFoundException:
            return False
        return True

    @operation
    async def make_dir(
        self, path: str, user: str | None = None, request_timeout: float | None = None
    ) -> bool:
        """Makes a directory and those above it; False if it is there already."""
        try:
            await self._unary("MakeDir", {"path": path}, user, request_timeout)
        except SandboxException as error:
            if error.code != "already_exists":
                raise
            return False
        return True

    @operation
    async def rename(
        self,
        old_path: str,
        new_path: str,
        user: str | None = None,
        request_timeout: float | None = None,
    ) -> EntryInfo:
        """Moves a file or directory, over a file that is there already."""
        message = {"source": old_path, "destination": new_path}
        reply = await self._unary("Move", message, user, request_timeout)
        return EntryInfo.from_dict(reply.get("entry", {}))

    @operation
    async def remove(
        self, path: str, user: str | None = None, request_timeout: float | None = None
    ) -> None:
        """Removes a file, or a directory with all in it. What is not there is no error."""
        await self._unary("Remove", {"path": path}, user, request_timeout, True)

    # ---- watching ----

    @operation
    async def watch(
        self,
        path: str,
        on_event: Callable[[FilesystemEvent], Any] | None = None,
        on_exit: Callable[[Exception | None], Any] | None = None,
        user: str | None = None,
        request_timeout: float | None = None,
        timeout: float | None = None,
        recursive: bool = False,
        include_entry: bool = False,
        allow_network_mounts: bool = False,
    ) -> Any:
        """Watches a directory, also one that does not exist yet: what is in it when it appears is
        told as created. `on_event` is called for each event, in order, and `on_exit` once at the
        end, with the error if it was one. Without `on_event`, ask `get_new_events()`.
        `timeout` ends it after so many seconds. Returns the watcher; its `stop()` first tells all
        that has happened until then."""
        options = {
            "recursive": recursive,
            "includeEntry": include_entry,
            "allowNetworkMounts": allow_network_mounts,
        }
        watcher = self._watcher(self, path, options, user, on_event, on_exit)
        await watcher._start(request_timeout, timeout or None, must_exist=False)
        return watcher


class Files(Blocking, _Files):
    __doc__ = __doc__
    _watcher = Watcher

    @operation
    async def watch_dir(
        self,
        path: str,
        user: str | None = None,
        request_timeout: float | None = None,
        recursive: bool = False,
        include_entry: bool = False,
        allow_network_mounts: bool = False,
        on_event: Callable[[FilesystemEvent], Any] | None = None,
        on_exit: Callable[[Exception | None], Any] | None = None,
    ) -> Watcher:
        """Watches a directory that exists: ask the result for `get_new_events()`, or give
        `on_event`. See watch()."""
        options = dict(
            recursive=recursive, includeEntry=include_entry, allowNetworkMounts=allow_network_mounts
        )
        watcher = Watcher(self, path, options, user, on_event, on_exit)
        await watcher._start(request_timeout, None, must_exist=True)
        return watcher


class AsyncFiles(Awaiting, _Files):
    __doc__ = __doc__
    _watcher = AsyncWatcher

    async def watch_dir(
        self,
        path: str,
        on_event: Callable[[FilesystemEvent], Any],
        on_exit: Callable[[Exception | None], Any] | None = None,
        user: str | None = None,
        request_timeout: float | None = None,
        timeout: float | None = 60,
        recursive: bool = False,
        include_entry: bool = False,
        allow_network_mounts: bool = False,
    ) -> AsyncWatcher:
        """Watches a directory that exists, for `timeout` seconds (0: without end). See watch()."""
        options = dict(
            recursive=recursive, includeEntry=include_entry, allowNetworkMounts=allow_network_mounts
        )
        watcher = AsyncWatcher(self, path, options, user, on_event, on_exit)
        await watcher._start(request_timeout, timeout or None, must_exist=True)
        return watcher


class _ByteStream:
    """A file's content as it comes. Close it when you do not read to the end."""

    def __init__(self, response: Response, endpoint: SandboxEndpoint, path: str) -> None:
        self._response, self._endpoint, self._path = response, endpoint, path

    async def _next(self) -> bytes:
        try:
            return await self._response.some()
        except TimeoutError as error:
            self._response.close()
            raise self._response.silent() from error
        except ConnectionLost as lost:
            self._response.close()
            raise await self._endpoint.explain(lost, f"reading {self._path}", True) from lost
        except BaseException:
            self._response.close()
            raise

    def close(self) -> None:
        self._response.close()


class ByteStream(Blocking, _ByteStream):
    __doc__ = _ByteStream.__doc__

    def __iter__(self) -> Iterator[bytes]:
        while data := finish(self._next()):
            yield data

    def __enter__(self) -> ByteStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncByteStream(Awaiting, _ByteStream):
    __doc__ = _ByteStream.__doc__

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self._next():
            yield data

    async def __aenter__(self) -> AsyncByteStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


Files._stream = ByteStream
AsyncFiles._stream = AsyncByteStream


def file_not_found(error: SandboxException) -> FileNotFoundException:
    return FileNotFoundException(str(error), code="not_found", status_code=error.status_code)


def metadata_headers(metadata: dict[str, str] | None) -> dict[str, str]:
    headers = {}
    for key, value in (metadata or {}).items():
        if not (key + value).isascii() or not (key + value).isprintable() or ":" in key:
            raise InvalidArgumentException(f"metadata is printable ASCII: {key!r}: {value!r}")
        headers[f"X-Metadata-{key}"] = value
    return headers
