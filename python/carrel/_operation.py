# SPDX-License-Identifier: Apache-2.0
"""One implementation, two ways to call it.

All that talks to a server is written once, as `async def`. In a class that is `Awaiting` an
operation is just that. In a class that is `Blocking` the streams below it block instead of
suspending (see _blocking.py), so its coroutine runs from beginning to end in one step, and the
operation returns the result.
"""

from __future__ import annotations

import functools
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Concatenate, ParamSpec, overload

    P = ParamSpec("P")
else:
    P = TypeVar("P")
R = TypeVar("R")


class Blocking:
    """Marks a class whose operations return their results."""

    @property
    def _io(self) -> Any:
        from ._blocking import BLOCKING

        return BLOCKING


class Awaiting:
    """Marks a class whose operations are awaited."""

    @property
    def _io(self) -> Any:
        from ._awaiting import AWAITING

        return AWAITING


def finish(coroutine: Coroutine[Any, Any, R]) -> R:
    """Runs a coroutine whose streams block, and which therefore never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("something awaited in a blocking call suspends")


class operation(Generic[P, R]):
    """A method that is `async def` in Awaiting classes and returns its result in Blocking ones."""

    def __init__(self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> None:
        self.awaited = function
        self.__doc__ = function.__doc__

        @functools.wraps(function)
        def blocking(*args: Any, **options: Any) -> R:
            return finish(function(*args, **options))

        self.blocking = blocking

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: Blocking, owner: Any) -> Callable[P, R]: ...
        @overload
        def __get__(
            self, instance: Awaiting, owner: Any
        ) -> Callable[P, Coroutine[Any, Any, R]]: ...
        @overload
        def __get__(self, instance: Any, owner: Any) -> Any: ...

    def __get__(self, instance, owner):
        function = self.blocking if issubclass(owner, Blocking) else self.awaited
        return function if instance is None else MethodType(function, instance)


class operation_by_id(operation[P, R]):
    """An operation of a sandbox that also works on its class with an id in front:
    `sandbox.kill()` and `Sandbox.kill("…")`. Options of the connection may follow."""

    def __get__(self, instance, owner):
        if instance is not None:
            return super().__get__(instance, owner)
        function = super().__get__(None, owner)

        @functools.wraps(function)
        def on_class(sandbox, *args, **options):
            if isinstance(sandbox, owner):
                return function(sandbox, *args, **options)
            return function(owner._of_id(sandbox, options), *args, **options)

        return on_class


async def call(callback: Callable[[Any], Any] | None, value: Any) -> None:
    """Calls what the user gave to be called, and awaits what it returns if that can be awaited."""
    if callback is not None:
        result = callback(value)
        if hasattr(result, "__await__"):
            await result
