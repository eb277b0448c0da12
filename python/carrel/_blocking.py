# SPDX-License-Identifier: Apache-2.0
"""The blocking shell: sockets and threads. Nothing here suspends although it is `async`: that is
what lets one implementation serve both kinds of callers."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from typing import Any

from ._operation import finish
from ._tls import context


class Stream:
    """A connected socket. Every wait is bounded by `timeout` seconds; None waits for ever."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.timeout: float | None = None

    def set_timeout(self, seconds: float | None) -> None:
        if seconds != self.timeout:
            self.timeout = seconds
            self.sock.settimeout(seconds)

    async def read(self, limit: int) -> bytes:
        return self.sock.recv(limit)

    async def write(self, data: bytes) -> None:
        self.sock.sendall(data)

    def stale(self) -> bool:
        """Whether the peer has closed, or said something unasked."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """May be called by another thread, whose read then ends."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


class Job:
    """Work that goes on by itself, in a thread."""

    def __init__(self, coroutine: Any) -> None:
        self.thread = threading.Thread(target=finish, args=(coroutine,), daemon=True)
        self.thread.start()

    def current(self) -> bool:
        return threading.current_thread() is self.thread

    async def wait(self, timeout: float | None = None) -> bool:
        self.thread.join(timeout)
        return not self.thread.is_alive()


class Lock:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    async def __aenter__(self) -> None:
        self.lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self.lock.release()


class Event(threading.Event):
    async def wait(self, timeout: float | None = None) -> bool:  # type: ignore[override]
        return super().wait(timeout)


class BlockingIO:
    """What a call needs of the outside world. One for the whole process."""

    Job, Lock, Event = Job, Lock, Event

    def __init__(self) -> None:
        self.idle: dict[Any, list[Any]] = {}
        # A child must not talk on its parent's connections.
        os.register_at_fork(after_in_child=self.idle.clear)

    async def connect(self, host: str, port: int, secure: bool, timeout: float | None) -> Stream:
        sock = socket.create_connection((host, port), timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secure:
                sock = context().wrap_socket(sock, server_hostname=host)
        except BaseException:
            sock.close()
            raise
        stream = Stream(sock)
        stream.timeout = timeout
        return stream

    def reader(self, function: Any) -> Any:
        """A coroutine function for in_thread's to call: it returns the result."""
        return lambda: finish(function())

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def in_thread(self, function: Any, *args: Any) -> Any:
        return function(*args)


BLOCKING = BlockingIO()
