# SPDX-License-Identifier: Apache-2.0
"""Running code in a sandbox: variables stay from one call to the next in the same context."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from ._endpoint import JSON_TYPE, encode
from ._operation import call, operation
from .errors import ConnectionLost, InvalidArgumentException, SandboxException, TimeoutException

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ._endpoint import SandboxEndpoint
    from ._http import Response
    from .execution import Context, Execution, ExecutionError, OutputMessage, Result

TIMEOUT = 300.0  # seconds that code has, if the caller does not say
SILENCE_SECONDS = 60.0  # the interpreter says something every 5 seconds
UNEXPECTED = "unexpected_end_of_execution"


class CodeOperations:
    """The part of a sandbox that runs code; needs a template with the interpreter."""

    _code: SandboxEndpoint

    @operation
    async def run_code(
        self,
        code: str,
        language: str | None = None,
        context: Context | None = None,
        on_stdout: Callable[[OutputMessage], Any] | None = None,
        on_stderr: Callable[[OutputMessage], Any] | None = None,
        on_result: Callable[[Result], Any] | None = None,
        on_error: Callable[[ExecutionError], Any] | None = None,
        envs: dict[str, str] | None = None,
        timeout: float | None = None,
        request_timeout: float | None = None,
    ) -> Execution:
        """Runs code and waits for its end. An exception in it is no exception here but the result's
        `error`.

        language   "python" (the default), "javascript", "typescript", "bash", "r", "java"
        context    where to run it instead, from create_code_context()
        on_…       called with pieces of output, results and the error as they come
        envs       variables for this call only
        timeout    seconds until it is interrupted, 300; 0 gives it all the time it needs
        """
        from .execution import Execution

        if language and context:
            raise InvalidArgumentException("give a language or a context, not both")
        message = {
            "code": code,
            "context_id": context.id if context else None,
            "language": language,
            "env_vars": envs,
        }
        seconds = TIMEOUT if timeout is None else timeout
        end = time.monotonic() + seconds if seconds else None
        handlers = {
            "stdout": on_stdout,
            "stderr": on_stderr,
            "result": on_result,
            "error": on_error,
        }
        execution = Execution()
        endpoint = self._code
        response = None
        try:
            response = await endpoint.open(
                "POST", "/execute", encode(message), JSON_TYPE, None, request_timeout
            )
            async for line in lines(response, end):
                kind, value = add(execution, json.loads(line))
                await call(handlers.get(kind), value)
        except ConnectionLost as lost:
            raise await endpoint.explain(lost, "running code") from lost
        except TimeoutError as error:
            if end is None or time.monotonic() < end:
                raise TimeoutException("the interpreter has fallen silent") from error
            raise TimeoutException(
                f"the code ran for {seconds} s and was interrupted (timeout)",
                code="deadline_exceeded",
            ) from error
        finally:
            if response is not None:
                response.close()  # before its end this interrupts the code
        return execution

    @operation
    async def create_code_context(
        self,
        cwd: str | None = None,
        language: str | None = None,
        request_timeout: float | None = None,
    ) -> Context:
        """A new context, with no variables, in a directory and for a language of its own."""
        from .execution import Context

        given = {"cwd": cwd, "language": language}
        message = {name: value for name, value in given.items() if value is not None}
        _, reply = await self._code.request("POST", "/contexts", message, request_timeout)
        return Context.from_json(reply)

    @operation
    async def list_code_contexts(self) -> list[Context]:
        """All contexts, the default ones too."""
        from .execution import Context

        _, reply = await self._code.request("GET", "/contexts", again=True)
        return [Context.from_json(context) for context in reply]

    @operation
    async def remove_code_context(self, context: Context | str) -> None:
        """Ends a context."""
        await self._code.request("DELETE", f"/contexts/{context_id(context)}")

    @operation
    async def restart_code_context(self, context: Context | str) -> None:
        """Gives a context a new process: its variables are gone."""
        await self._code.request("POST", f"/contexts/{context_id(context)}/restart", {})


def context_id(context: Context | str) -> str:
    name = context if isinstance(context, str) else context.id
    if "/" in name or "?" in name:
        raise InvalidArgumentException(f"no context's id: {name!r}")
    return name


async def lines(response: Response, end: float | None) -> AsyncIterator[bytes]:
    """The lines of a body, each as soon as it is whole, until a moment of the monotonic clock."""
    rest = b""
    while True:
        left = SILENCE_SECONDS if end is None else min(SILENCE_SECONDS, end - time.monotonic())
        if left <= 0:
            raise TimeoutError
        response.set_timeout(left)
        data = await response.some()
        if not data:
            if rest:
                raise ConnectionLost("the last line of the output is cut")
            return
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line


def add(execution: Execution, message: dict[str, Any]) -> tuple[str, Any]:
    """Puts one message where it belongs; what kind it is, and what a callback is told."""
    from .execution import ExecutionError, OutputMessage, Result

    kind = message.get("type", "")
    if kind in ("stdout", "stderr"):
        getattr(execution.logs, kind).append(message["text"])
        return kind, OutputMessage(message["text"], message.get("timestamp"), kind == "stderr")
    if kind == "result":
        result = Result.from_dict(message)
        execution.results.append(result)
        return kind, result
    if kind == "error":
        fields = (str(message.get(name, "")) for name in ("name", "value", "traceback"))
        execution.error = ExecutionError(*fields)
        return kind, execution.error
    if kind == "number_of_executions":
        execution.execution_count = message["execution_count"]
    elif kind == UNEXPECTED:
        raise SandboxException("the interpreter ended before the code did")
    return "", None
