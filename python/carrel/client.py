# SPDX-License-Identifier: Apache-2.0
"""Sandboxes of a server that is named in the program, not in the environment."""

from __future__ import annotations

from typing import Any

from ._config import ConnectionConfig, no_more
from .sandbox import AsyncSandbox, Sandbox


class E2B:
    """A client bound to options of the connection (see ConnectionConfig): its `Sandbox` and
    `AsyncSandbox` use them where a call does not say otherwise."""

    def __init__(self, **options: Any) -> None:
        unknown = {k: v for k, v in options.items() if k not in ConnectionConfig.OPTIONS}
        no_more(unknown, "E2B")
        bound = {"_bound": dict(options)}
        self.Sandbox: type[Sandbox] = type("Sandbox", (Sandbox,), bound)
        self.AsyncSandbox: type[AsyncSandbox] = type("AsyncSandbox", (AsyncSandbox,), bound)
