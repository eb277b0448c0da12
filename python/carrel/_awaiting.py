# SPDX-License-Identifier: Apache-2.0
"""The awaiting shell: the same as _blocking.py on asyncio's streams and tasks."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

from ._tls import context

READ_AHEAD = 1 << 20  # bytes that the event loop reads before we ask for them


class Stream:
    """A connection of the running event loop. Every wait is bounded by `timeout` seconds."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.timeout: float | None = None
        self.expired = False

    def set_timeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    def expire(self) -> None:
        self.expired = True
        self.writer.transport.abort()

    async def bounded(self, awaitable: Any) -> Any:
        # asyncio.wait_for makes a task of what it waits for; a timer that aborts is enough here.
        if self.timeout is None:
            return await awaitable
        timer = asyncio.get_running_loop().call_later(self.timeout, self.expire)
        try:
            result = await awaitable
        except OSError:
            result = None
            if not self.expired:
                raise
        finally:
            timer.cancel()
        if self.expired:
            raise TimeoutError
        return result

    async def read(self, limit: int) -> bytes:
        return await self.bounded(self.reader.read(limit))

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.bounded(self.writer.drain())

    def stale(self) -> bool:
        return self.reader.at_eof() or self.writer.is_closing()

    def close(self) -> None:
        try:
            self.writer.close()
        except RuntimeError:  # the loop it belongs to has ended
            pass


class Job:
    """Work that goes on by itself, in a task."""

    def __init__(self, coroutine: Any) -> None:
        self.task = asyncio.ensure_future(coroutine)

    def current(self) -> bool:
        return asyncio.current_task() is self.task

    async def wait(self, timeout: float | None = None) -> bool:
        await asyncio.wait([self.task], timeout=timeout)
        return self.task.done()


class AwaitingIO:
    """What a call needs of the outside world; connections belong to their event loop."""

    Job, Lock, Event = Job, asyncio.Lock, asyncio.Event

    def __init__(self) -> None:
        self.loops: Any = weakref.WeakKeyDictionary()

    @property
    def idle(self) -> dict[Any, list[Any]]:
        return self.loops.setdefault(asyncio.get_running_loop(), {})

    async def connect(self, host: str, port: int, secure: bool, timeout: float | None) -> Stream:
        opening = asyncio.open_connection(
            host, port, ssl=context() if secure else None, limit=READ_AHEAD
        )
        try:
            stream = Stream(*await asyncio.wait_for(opening, timeout))
        except asyncio.TimeoutError:  # not yet the built-in one in Python 3.10
            raise TimeoutError from None
        stream.timeout = timeout
        return stream

    def reader(self, function: Any) -> Any:
        """A coroutine function for in_thread's to call: it returns the result."""
        loop = asyncio.get_running_loop()
        return lambda: asyncio.run_coroutine_threadsafe(function(), loop).result()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def in_thread(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, function, *args)


AWAITING = AwaitingIO()
