# SPDX-License-Identifier: Apache-2.0
"""Commands and terminals of a sandbox."""

from __future__ import annotations

import base64
import signal as signals
from typing import TYPE_CHECKING, Any

from ._connect import Rpc
from ._handle import AsyncCommandHandle, CommandHandle
from ._operation import Awaiting, Blocking, operation
from .errors import ConnectionLost, InvalidArgumentException, NotFoundException, SandboxException
from .processes import ProcessInfo, PtySize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._connect import MessageStream
    from ._endpoint import SandboxEndpoint

SERVICE = "/process.Process/"
TIMEOUT = 60.0  # seconds that a command has, if the caller does not say
INPUT_PIECE = 1 << 20  # bytes of standard input in one message
TERMINAL = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


class _Processes:
    """What commands and terminals share: processes by their numbers."""

    _io: Any
    _handle: Any
    _terminals = False  # what is written goes to a terminal

    def __init__(self, endpoint: SandboxEndpoint) -> None:
        self._endpoint = endpoint
        self._rpc = Rpc(endpoint)

    async def _unary(
        self, method: str, pid: int, request_timeout: float | None, **message: Any
    ) -> Any:
        message["process"] = {"pid": pid}
        return await self._rpc.unary(SERVICE + method, message, None, request_timeout)

    async def _open(
        self,
        method: str,
        message: dict[str, Any],
        user: str | None,
        timeout: float | None = None,
        request_timeout: float | None = None,
    ) -> tuple[MessageStream, int]:
        """A stream of a process's events, and its number, which comes first."""
        stream = await self._rpc.stream(
            SERVICE + method, message, user, timeout, request_timeout, True
        )
        first = await stream.next()
        pid = ((first or {}).get("event", {}).get("start") or {}).get("pid")
        if pid is None:
            stream.close()
            raise SandboxException(f"the agent did not begin with a start event: {first!r:.200}")
        return stream, pid

    async def _start(
        self,
        message: dict[str, Any],
        user: str | None,
        timeout: float | None,
        request_timeout: float | None,
        callbacks: dict[str, Any],
        retain_output: bool = True,
    ) -> Any:
        # Not tried again: nobody knows whether it was started.
        try:
            stream, pid = await self._open("Start", message, user, timeout, request_timeout)
        except ConnectionLost as lost:
            raise await self._endpoint.explain(lost, "starting a process") from lost
        pty = "pty" in message
        return self._handle(self, pid, stream, timeout, callbacks, pty, retain_output)

    async def _connect(self, pid: int, offset: int | None, *args: Any) -> MessageStream:
        message: dict[str, Any] = {"process": {"pid": pid}}
        if offset is not None:
            message["fromOffset"] = str(offset)
        return (await self._open("Connect", message, None, *args))[0]

    async def _attach(
        self,
        pid: int,
        timeout: float | None,
        request_timeout: float | None,
        callbacks: dict[str, Any],
        pty: bool = False,
        retain_output: bool = True,
        from_offset: int | None = None,
    ) -> Any:
        try:
            stream = await self._connect(pid, from_offset, timeout, request_timeout)
        except ConnectionLost as lost:
            raise await self._endpoint.explain(lost, f"connecting to process {pid}", True) from lost
        return self._handle(self, pid, stream, timeout, callbacks, pty, retain_output)

    async def _send(
        self, pid: int, data: str | bytes, pty: bool, request_timeout: float | None
    ) -> None:
        content = data.encode() if isinstance(data, str) else bytes(data)
        for start in range(0, len(content), INPUT_PIECE) or (0,):
            piece = base64.b64encode(content[start : start + INPUT_PIECE]).decode()
            sent = {"pty" if pty else "stdin": piece}
            await self._unary("SendInput", pid, request_timeout, input=sent)

    async def _close_stdin(self, pid: int, request_timeout: float | None) -> None:
        await self._unary("CloseStdin", pid, request_timeout)

    async def _resize(self, pid: int, size: Any, request_timeout: float | None) -> None:
        await self._unary("Update", pid, request_timeout, pty={"size": terminal_size(size)})

    async def _signal(
        self, pid: int, signal: int | str, group: bool, request_timeout: float | None
    ) -> bool:
        number = signal_number(signal)
        try:
            await self._unary("SendSignal", pid, request_timeout, signal=number, group=group)
        except NotFoundException:
            return False
        return True

    @operation
    async def kill(
        self, pid: int, request_timeout: float | None = None, group: bool = False
    ) -> bool:
        """Kills a process, and with `group` all it has started. False if there is none."""
        return await self._signal(pid, "KILL", group, request_timeout)


class _TakesInput(_Processes):
    @operation
    async def stream_input(
        self, pid: int, data: Iterable[str | bytes], *, timeout: float | None = TIMEOUT
    ) -> None:
        """Writes piece after piece to the input of a process."""
        for piece in data:
            await self._send(pid, piece, self._terminals, timeout)


class _GivesWriter(_Processes):
    def stream_input(self, pid: int, *, timeout: float | None = TIMEOUT) -> AsyncCommandInputHandle:
        """A writer to the input of a process."""
        return AsyncCommandInputHandle(self, pid, self._terminals, timeout)


class _Commands(_Processes):
    @operation
    async def run(
        self,
        cmd: str,
        background: bool | None = None,
        envs: dict[str, str] | None = None,
        user: str | None = None,
        cwd: str | None = None,
        on_stdout: Callable[[str], Any] | None = None,
        on_stderr: Callable[[str], Any] | None = None,
        stdin: bool | None = None,
        timeout: float | None = TIMEOUT,
        request_timeout: float | None = None,
        *,
        retain_output: bool = True,
    ) -> Any:
        """Runs a command with bash, and waits for its end unless `background` is true.

        envs         variables besides those of the sandbox
        user, cwd    whose process it is, and where
        on_stdout, on_stderr   called with pieces of text as they come
        stdin        keeps its standard input open, for send_stdin()
        timeout      seconds after which it is killed, 60; 0 gives it all the time it needs
        retain_output   false: the output goes to the callbacks only

        Returns a CommandResult, or with `background` a CommandHandle. Raises CommandExitException
        if the exit code is not 0. Ctrl-C while it waits interrupts the command, too.
        """
        process: dict[str, Any] = {"cmd": "/bin/bash", "args": ["-l", "-c", cmd]}
        if envs:
            process["envs"] = envs
        if cwd is not None:
            process["cwd"] = cwd
        message = {"process": process, "stdin": bool(stdin)}
        callbacks = {"stdout": on_stdout, "stderr": on_stderr}
        handle = await self._start(
            message, user, timeout, request_timeout, callbacks, retain_output
        )
        if background:
            handle._begin()
            return handle
        try:
            return await handle._wait()
        except KeyboardInterrupt:
            await self._signal(handle.pid, "INT", True, 5)
            raise
        finally:
            handle._stream.close()

    @operation
    async def list(self, request_timeout: float | None = None) -> list[ProcessInfo]:
        """The running processes that were started through the API, terminals too."""
        reply = await self._rpc.unary(SERVICE + "List", {}, None, request_timeout, True)
        return [ProcessInfo.from_dict(process) for process in reply.get("processes", ())]

    @operation
    async def send_stdin(
        self, pid: int, data: str | bytes, request_timeout: float | None = None
    ) -> None:
        """Writes to the standard input of a process that was started with `stdin=True`."""
        await self._send(pid, data, False, request_timeout)

    @operation
    async def close_stdin(self, pid: int, request_timeout: float | None = None) -> None:
        """Ends the standard input of a process."""
        await self._close_stdin(pid, request_timeout)

    @operation
    async def signal(
        self,
        pid: int,
        signal: int | str,
        group: bool = False,
        request_timeout: float | None = None,
    ) -> bool:
        """Sends a signal, such as "INT" or signal.SIGINT, to a process, and with `group` to all it
        has started. False if there is none."""
        return await self._signal(pid, signal, group, request_timeout)

    @operation
    async def connect(
        self,
        pid: int,
        timeout: float | None = TIMEOUT,
        request_timeout: float | None = None,
        on_stdout: Callable[[str], Any] | None = None,
        on_stderr: Callable[[str], Any] | None = None,
        *,
        retain_output: bool = True,
        from_offset: int | None = None,
    ) -> Any:
        """Connects to a running process: its handle has all output that nobody has taken yet, or
        with `from_offset` all from that byte on as far as it is still held. `timeout` is that of
        the connection, in seconds; 0 is none."""
        callbacks = {"stdout": on_stdout, "stderr": on_stderr}
        handle = await self._attach(
            pid, timeout, request_timeout, callbacks, False, retain_output, from_offset
        )
        handle._begin()
        return handle


class Commands(Blocking, _Commands, _TakesInput):
    """Commands of a sandbox."""

    _handle = CommandHandle


class AsyncCommands(Awaiting, _Commands, _GivesWriter):
    """Commands of a sandbox."""

    _handle = AsyncCommandHandle


class _Pty(_Processes):
    _terminals = True

    async def _create(
        self,
        size: Any,
        user: str | None,
        cwd: str | None,
        envs: dict[str, str] | None,
        timeout: float | None,
        request_timeout: float | None,
        on_data: Callable[[bytes], Any] | None,
    ) -> Any:
        process: dict[str, Any] = {"cmd": "/bin/bash", "args": ["-i", "-l"]}
        process["envs"] = {**TERMINAL, **(envs or {})}
        if cwd is not None:
            process["cwd"] = cwd
        message = {"process": process, "pty": {"size": terminal_size(size)}}
        handle = await self._start(message, user, timeout, request_timeout, {"pty": on_data})
        handle._begin()
        return handle

    async def _reattach(
        self,
        pid: int,
        timeout: float | None,
        request_timeout: float | None,
        on_data: Callable[[bytes], Any] | None,
    ) -> Any:
        handle = await self._attach(pid, timeout, request_timeout, {"pty": on_data}, True)
        handle._begin()
        return handle

    @operation
    async def send_stdin(
        self, pid: int, data: str | bytes, request_timeout: float | None = None
    ) -> None:
        """Types on a terminal."""
        await self._send(pid, data, True, request_timeout)

    @operation
    async def resize(self, pid: int, size: PtySize, request_timeout: float | None = None) -> None:
        """Gives a terminal another size."""
        await self._resize(pid, size, request_timeout)


class Pty(Blocking, _Pty, _TakesInput):
    """Terminals of a sandbox, each with a login shell."""

    _handle = CommandHandle

    @operation
    async def create(
        self,
        size: PtySize,
        user: str | None = None,
        cwd: str | None = None,
        envs: dict[str, str] | None = None,
        timeout: float | None = TIMEOUT,
        request_timeout: float | None = None,
        on_data: Callable[[bytes], Any] | None = None,
    ) -> CommandHandle:
        """Opens a terminal: read its handle, or wait(on_pty=…), or give `on_data`. `timeout` in
        seconds ends it; 0 does not."""
        return await self._create(size, user, cwd, envs, timeout, request_timeout, on_data)

    @operation
    async def connect(
        self,
        pid: int,
        timeout: float | None = TIMEOUT,
        request_timeout: float | None = None,
        on_data: Callable[[bytes], Any] | None = None,
    ) -> CommandHandle:
        """Connects to a terminal that runs."""
        return await self._reattach(pid, timeout, request_timeout, on_data)


class AsyncPty(Awaiting, _Pty, _GivesWriter):
    """Terminals of a sandbox, each with a login shell."""

    _handle = AsyncCommandHandle

    async def create(
        self,
        size: PtySize,
        on_data: Callable[[bytes], Any] | None = None,
        user: str | None = None,
        cwd: str | None = None,
        envs: dict[str, str] | None = None,
        timeout: float | None = TIMEOUT,
        request_timeout: float | None = None,
    ) -> AsyncCommandHandle:
        """Opens a terminal, whose output goes to `on_data`. `timeout` in seconds ends it; 0 does
        not."""
        return await self._create(size, user, cwd, envs, timeout, request_timeout, on_data)

    async def connect(
        self,
        pid: int,
        on_data: Callable[[bytes], Any] | None = None,
        timeout: float | None = TIMEOUT,
        request_timeout: float | None = None,
    ) -> AsyncCommandHandle:
        """Connects to a terminal that runs."""
        return await self._reattach(pid, timeout, request_timeout, on_data)


class AsyncCommandInputHandle:
    """Writes to one process, in order."""

    def __init__(self, processes: Any, pid: int, pty: bool, timeout: float | None) -> None:
        self._processes, self._pid, self._pty, self._timeout = processes, pid, pty, timeout

    async def send(self, data: str | bytes) -> None:
        await self._processes._send(self._pid, data, self._pty, self._timeout)

    async def close(self) -> None:
        """Ends the writing, not the process's input."""


def terminal_size(size: Any) -> dict[str, int]:
    return {"cols": size.cols, "rows": size.rows}


def signal_number(signal: int | str) -> int:
    """A signal by number, or by name with or without SIG."""
    try:
        if isinstance(signal, str):
            return signals.Signals["SIG" + signal.upper().removeprefix("SIG")].value
        return signals.Signals(signal).value
    except (KeyError, ValueError):
        raise InvalidArgumentException(f"no signal: {signal!r}") from None
