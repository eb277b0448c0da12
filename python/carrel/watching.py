# SPDX-License-Identifier: Apache-2.0
"""Watching a directory.

The agent keeps the events (CreateWatcher), and a stream (WatchDir) says when there are some. So
nothing is lost when a connection breaks, and asking once more tells exactly what has happened until
then.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ._operation import Awaiting, Blocking, call, operation
from .entries import FilesystemEvent
from .errors import (
    ConnectionLost,
    InvalidArgumentException,
    NotFoundException,
    SandboxException,
    SandboxNotRunningException,
    SandboxUnreachableException,
    TimeoutException,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICE = "/filesystem.Filesystem/"
RECONNECT_PAUSES = (0.05, 0.1, 0.2, 0.5, 1, 1, 2, 2, 5, 5)  # seconds


class _Watcher:
    _io: Any

    def __init__(
        self,
        files: Any,
        path: str,
        options: dict[str, bool],
        user: str | None,
        on_event: Callable[[FilesystemEvent], Any] | None,
        on_exit: Callable[[Exception | None], Any] | None,
    ) -> None:
        self._files, self._path, self._options, self._user = files, path, options, user
        self._on_event, self._on_exit = on_event, on_exit
        self._id = ""  # of the agent's watcher
        self._bell: Any = None  # the stream that says when there are events
        self._job: Any = None
        self._lock = self._io.Lock()  # one at a time asks for events and tells them
        self._stopped = self._over = False
        self._deadline: float | None = None

    async def _start(
        self, request_timeout: float | None, timeout: float | None, must_exist: bool
    ) -> None:
        self._timeout = request_timeout
        message = {"path": self._path, **self._options, "waitForPath": not must_exist}
        reply = await self._files._unary("CreateWatcher", message, self._user, request_timeout)
        self._id = reply["watcherId"]
        self._deadline = time.monotonic() + timeout if timeout else None
        if self._on_event is not None:
            await self._listen()
            self._job = self._io.Job(self._run())

    # ---- the agent's side ----

    async def _collect(self) -> list[FilesystemEvent]:
        """All that has happened since the last time. Not to be repeated: events are given once."""
        reply = await self._files._rpc.unary(
            SERVICE + "GetWatcherEvents", {"watcherId": self._id}, self._user, self._timeout
        )
        events = map(FilesystemEvent.from_dict, reply.get("events", ()))
        return [event for event in events if event is not None]

    # ---- the bell ----

    async def _listen(self) -> None:
        """Opens the stream that says when to ask. One question follows, so that nothing falls
        between."""
        message = {"path": self._path, **self._options, "waitForPath": True, "includeEntry": False}
        try:
            bell = await self._files._rpc.stream(
                SERVICE + "WatchDir", message, self._user, self._left(), self._timeout
            )
            await bell.next()  # started
        except ConnectionLost as lost:
            raise await self._files._endpoint.explain(lost, "watching", True) from lost
        self._bell = bell
        if self._stopped:
            bell.close()

    def _left(self) -> float | None:
        """Seconds until the end of the watch; None if it has none."""
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutException("the watch has reached its timeout", code="deadline_exceeded")
        return left

    async def _run(self) -> None:
        """Rings until it is stopped: events, then the next bell."""
        error: Exception | None = None
        try:
            while not self._stopped:
                await self._tell()
                await self._ring()
        except Exception as failure:  # to be told by on_exit
            error = None if self._stopped else failure
        self._over = True
        if self._bell:
            self._bell.close()
        try:
            await call(self._on_exit, error)
        except Exception:
            import traceback

            traceback.print_exc()

    async def _ring(self) -> None:
        """Waits until there is something to ask for."""
        try:
            message = await self._bell.next()
            while message is not None and "keepalive" in message:
                message = await self._bell.next()
        except ConnectionLost as lost:
            if not self._stopped:
                await self._reconnect(lost)
            return
        self._bell.skip()  # one question is enough for all that rings now
        if message is None and not self._stopped:
            await self._reconnect(ConnectionLost("the stream ended"))

    async def _reconnect(self, lost: ConnectionLost) -> None:
        self._bell.close()
        for pause in (*RECONNECT_PAUSES, None):
            try:
                await self._listen()
                return
            except SandboxNotRunningException:
                raise
            except SandboxUnreachableException:
                if pause is None:
                    raise
                await self._io.sleep(pause)

    async def _tell(self) -> None:
        async with self._lock:
            if not self._stopped:
                for event in await self._collect():
                    await call(self._on_event, event)

    # ---- the user's side ----

    @operation
    async def get_new_events(self, request_timeout: float | None = None) -> list[FilesystemEvent]:
        """All that has happened since the last call. Not together with `on_event`."""
        if self._on_event is not None:
            raise InvalidArgumentException("the events go to on_event")
        if self._stopped:
            raise SandboxException("the watcher is stopped")
        async with self._lock:
            return await self._collect()

    @operation
    async def stop(self, request_timeout: float | None = None) -> None:
        """Tells what has happened until now, then ends the watch. Does nothing the second time."""
        if self._stopped:
            return
        own = self._job is not None and self._job.current()
        if own or self._on_event is None or self._over:
            self._stopped = True
        else:
            await self._tell_rest()
        if self._bell:
            self._bell.close()
        if self._job and not own:
            await self._job.wait()
        if self._id:
            message = {"watcherId": self._id}
            try:
                await self._files._unary("RemoveWatcher", message, self._user, request_timeout)
            except (NotFoundException, TimeoutException):
                pass  # gone with its sandbox or its agent

    async def _tell_rest(self) -> None:
        async with self._lock:
            self._stopped = True
            try:
                events = await self._collect()
            except SandboxException:  # told by on_exit, or gone with its sandbox
                return
            for event in events:
                await call(self._on_event, event)


class Watcher(Blocking, _Watcher):
    """A directory that is being watched. `stop()` it, or use it as a context manager."""

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class AsyncWatcher(Awaiting, _Watcher):
    """A directory that is being watched. `await stop()`, or use it in `async with`."""

    async def __aenter__(self) -> AsyncWatcher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
