# SPDX-License-Identifier: Apache-2.0
"""A process that was started or connected to: reads, writes, signals, waits and kills.

Each piece of output comes with its offset. When a connection breaks, the handle connects again and
goes on at the byte where it was, so output is neither lost nor doubled.
"""

from __future__ import annotations

import codecs
import time
from typing import TYPE_CHECKING, Any

from ._operation import Awaiting, Blocking, call, finish, operation
from .errors import (
    ConnectionLost,
    NotFoundException,
    SandboxException,
    SandboxNotRunningException,
    SandboxUnreachableException,
    TimeoutException,
)
from .processes import CommandExitException, CommandResult, Output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from ._connect import MessageStream

RECONNECT_SECONDS = 25  # a process is remembered for 30 after its end
RECONNECT_PAUSE, RECONNECT_PAUSE_MAX = 0.05, 1.0
LOST_MAX = 50  # connections that break without a byte of output
KINDS = ("stdout", "stderr", "pty")


class _Handle:
    _io: Any

    def __init__(
        self,
        commands: Any,
        pid: int,
        stream: MessageStream,
        timeout: float | None,
        callbacks: dict[str, Callable[[Any], Any] | None],
        pty: bool = False,
        retain_output: bool = True,
    ) -> None:
        self._commands, self._pid, self._stream, self._pty = commands, pid, stream, pty
        self._deadline = time.monotonic() + timeout if timeout else None
        self._callbacks = callbacks
        self._retain = retain_output
        self._offset = 0  # of the next byte of output
        self._counts = False  # whether the server says offsets, and so can go on at one
        self._missed = 0
        self._lost = 0  # connections since the last piece of output
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": decoder("replace"), "stderr": decoder("replace")}
        self._pieces: list[Output] = []
        self._cursor = 0  # of the piece that read() gives next
        self._news = self._io.Event()  # there is another piece, or no more will come
        self._end: dict[str, Any] | None = None
        self._failure: BaseException | None = None
        self._left = self._over = False
        self._job: Any = None

    # ---- what is known ----

    @property
    def pid(self) -> int:
        """The process's number in the sandbox."""
        return self._pid

    @property
    def stdout(self) -> str:
        """What was read of its standard output so far."""
        return "".join(piece.stdout or "" for piece in self._pieces)

    @property
    def stderr(self) -> str:
        """What was read of its standard error so far."""
        return "".join(piece.stderr or "" for piece in self._pieces)

    @property
    def exit_code(self) -> int | None:
        """Its exit code, -1 if a signal ended it; None as long as its end was not read."""
        return None if self._end is None else self._end.get("exitCode", 0)

    @property
    def error(self) -> str | None:
        """What was wrong with its end, such as "exit status 1" or "signal: killed"."""
        return None if self._end is None else self._end.get("error")

    # ---- reading ----

    async def _next(self) -> Output | None:
        """The next piece of output; None at the process's end."""
        while self._end is None:
            if self._left:
                raise SandboxException(f"disconnected from process {self._pid}")
            try:
                message = await self._stream.next()
                if message is None:
                    raise ConnectionLost("the stream ended before the process")
            except ConnectionLost as lost:
                if not self._left:
                    await self._reconnect(lost)
                continue
            event = message.get("event", {})
            if "data" in event:
                piece = self._piece(event["data"])
                if piece is not None:
                    return piece
            elif "end" in event:
                self._end = event["end"]
                await self._last_frame()
        return None

    async def _last_frame(self) -> None:
        """What follows the end, so that the connection can be used again."""
        try:
            await self._stream.next()
        except (ConnectionLost, SandboxException):
            pass
        self._stream.close()

    def _piece(self, data: dict[str, Any]) -> Output | None:
        kind = next((kind for kind in KINDS if kind in data), None)
        if kind is None:
            return None
        content = data[kind]
        self._lost = 0
        self._counts = self._counts or "offset" in data
        self._offset = int(data.get("offset", self._offset)) + len(content)
        self._missed += int(data.get("missed", 0))
        if kind == "pty":
            return self._keep(Output(pty=content))
        text = self._decoders[kind].decode(content)
        if not text:
            return None
        return self._keep(Output(stdout=text) if kind == "stdout" else Output(stderr=text))

    def _keep(self, piece: Output) -> Output:
        if self._retain:
            self._pieces.append(piece)
        return piece

    async def _reconnect(self, lost: ConnectionLost) -> None:
        """Goes on at the same byte. The agent may be starting anew, so it tries for some time."""
        self._stream.close()
        self._lost += 1
        end = time.monotonic() + RECONNECT_SECONDS
        pause = RECONNECT_PAUSE
        what = f"process {self._pid}"
        # Without offsets what was printed meanwhile would be missing.
        if self._offset and not self._counts or self._lost > LOST_MAX:
            raise await self._commands._endpoint.explain(lost, what, True) from lost
        while True:
            try:
                self._stream = await self._commands._connect(self._pid, self._offset)
                return
            except (SandboxNotRunningException, NotFoundException) as error:
                raise error from lost
            except (ConnectionLost, SandboxUnreachableException) as error:
                if time.monotonic() > end:
                    raise await self._commands._endpoint.explain(lost, what, True) from error
            await self._io.sleep(pause)
            pause = min(2 * pause, RECONNECT_PAUSE_MAX)

    async def _pump(self) -> None:
        """Reads to the end and tells the callbacks."""
        try:
            while (piece := await self._next()) is not None:
                await self._tell(piece)
                self._news.set()
        except Exception as error:
            self._failure = error
        self._over = True
        self._news.set()

    async def _tell(self, piece: Output) -> None:
        for kind, value in zip(KINDS, piece):
            if value is not None:
                await call(self._callbacks.get(kind), value)

    def _begin(self) -> None:
        """Reads in the background from now on, if there is somebody to tell. Where there is an
        event loop it is always done: that costs no thread."""
        if isinstance(self, Awaiting) or any(self._callbacks.values()):
            self._job = self._io.Job(self._pump())

    async def _result(self) -> CommandResult:
        """Waits for the end, reading."""
        if self._job is not None:
            await self._job.wait()
        else:
            await self._pump()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if self._deadline and time.monotonic() >= self._deadline and self.exit_code == -1:
            raise TimeoutException(
                "the command has reached its timeout; timeout=0 gives it all the time it needs",
                code="deadline_exceeded",
            )
        return CommandResult(
            self.stderr, self.stdout, self.exit_code or 0, self.error, self._missed
        )

    async def _wait(self) -> CommandResult:
        result = await self._result()
        if result.exit_code != 0:
            raise CommandExitException(**vars(result))
        return result

    # ---- writing, signals ----

    @operation
    async def send_stdin(self, data: str | bytes, request_timeout: float | None = None) -> None:
        """Writes to its standard input, which has to be open (`stdin=True`), or its terminal."""
        await self._commands._send(self._pid, data, self._pty, request_timeout)

    @operation
    async def write(self, data: str | bytes, request_timeout: float | None = None) -> None:
        """The same as send_stdin."""
        await self._commands._send(self._pid, data, self._pty, request_timeout)

    @operation
    async def close_stdin(self, request_timeout: float | None = None) -> None:
        """Ends its standard input: it reads the end of the file."""
        await self._commands._close_stdin(self._pid, request_timeout)

    @operation
    async def read(self) -> Output | None:
        """The next piece of output, as soon as there is one; None at the end of the process."""
        while self._cursor == len(self._pieces):
            if self._job is None:
                piece = await self._next()
                self._cursor = len(self._pieces)
                return piece
            if self._over:
                if self._failure is not None:
                    raise self._failure
                return None
            self._news.clear()
            if self._cursor == len(self._pieces) and not self._over:
                await self._news.wait()
        self._cursor += 1
        return self._pieces[self._cursor - 1]

    @operation
    async def signal(
        self, signal: int | str, group: bool = False, request_timeout: float | None = None
    ) -> bool:
        """Sends a signal, such as "INT" or signal.SIGINT, to the process, and with `group` to all
        it has started. False if there is none any more."""
        return await self._commands._signal(self._pid, signal, group, request_timeout)

    @operation
    async def kill(self, request_timeout: float | None = None, group: bool = False) -> bool:
        """Kills the process, and with `group` all it has started. False if there is none any
        more."""
        return await self._commands._signal(self._pid, "KILL", group, request_timeout)

    @operation
    async def resize(self, size: Any, request_timeout: float | None = None) -> None:
        """Gives its terminal another size."""
        await self._commands._resize(self._pid, size, request_timeout)

    @operation
    async def disconnect(self) -> None:
        """Leaves the process alone: it goes on, its output waits for the next `connect`."""
        self._left = True
        self._stream.close()


class CommandHandle(Blocking, _Handle):
    __doc__ = __doc__

    def wait(
        self,
        on_pty: Callable[[bytes], Any] | None = None,
        on_stdout: Callable[[str], Any] | None = None,
        on_stderr: Callable[[str], Any] | None = None,
    ) -> CommandResult:
        """Waits for the end and reads the output, for the callbacks too if there are any. Raises
        CommandExitException if the exit code is not 0."""
        given = {"pty": on_pty, "stdout": on_stdout, "stderr": on_stderr}
        self._callbacks = {**self._callbacks, **{k: f for k, f in given.items() if f}}
        return finish(self._wait())

    def __iter__(self) -> Iterator[Output]:
        """Pieces of output, as (stdout, stderr, pty), two of them None."""
        while (piece := self.read()) is not None:
            yield piece

    def __enter__(self) -> CommandHandle:
        return self

    def __exit__(self, *_: object) -> None:
        if self._end is None:
            self.kill(group=True)
        self.disconnect()


class AsyncCommandHandle(Awaiting, _Handle):
    __doc__ = __doc__

    async def wait(self) -> CommandResult:
        """Waits for the end. Raises CommandExitException if the exit code is not 0."""
        return await self._wait()

    async def __aiter__(self) -> AsyncIterator[Output]:
        """Pieces of output, as (stdout, stderr, pty), two of them None."""
        while (piece := await self.read()) is not None:
            yield piece

    async def __aenter__(self) -> AsyncCommandHandle:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._end is None:
            await self.kill(group=True)
        await self.disconnect()
