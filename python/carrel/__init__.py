# SPDX-License-Identifier: Apache-2.0
"""Isolated Linux machines for programs: files, processes, terminals, code.

    from carrel import Sandbox

    with Sandbox() as sandbox:
        sandbox.files.write("hello.py", "print(6 * 7)")
        print(sandbox.commands.run("python hello.py").stdout)

`AsyncSandbox` is the same with `await`. The names of the published SDK are here as well: code
written for it needs another import line and nothing else. `python -m carrel.compat SCRIPT` runs it
as it is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ._config import ConnectionConfig as ConnectionConfig
    from ._handle import AsyncCommandHandle as AsyncCommandHandle
    from ._handle import CommandHandle as CommandHandle
    from .client import E2B as E2B
    from .commands import AsyncCommandInputHandle as AsyncCommandInputHandle
    from .entries import EntryInfo as EntryInfo
    from .entries import FilesystemEvent as FilesystemEvent
    from .entries import FilesystemEventType as FilesystemEventType
    from .entries import FileType as FileType
    from .entries import WriteInfo as WriteInfo
    from .errors import *  # noqa: F403
    from .execution import Context as Context
    from .execution import Execution as Execution
    from .execution import ExecutionError as ExecutionError
    from .execution import Logs as Logs
    from .execution import OutputMessage as OutputMessage
    from .execution import Result as Result
    from .processes import CommandExitException as CommandExitException
    from .processes import CommandResult as CommandResult
    from .processes import ProcessInfo as ProcessInfo
    from .processes import PtySize as PtySize
    from .sandbox import AsyncSandbox as AsyncSandbox
    from .sandbox import Sandbox as Sandbox
    from .sandbox import get_signature as get_signature
    from .sandboxes import SandboxInfo as SandboxInfo
    from .sandboxes import SandboxMetrics as SandboxMetrics
    from .sandboxes import SandboxQuery as SandboxQuery
    from .sandboxes import SandboxState as SandboxState
    from .sandboxes import SnapshotInfo as SnapshotInfo
    from .watching import AsyncWatcher as AsyncWatcher
    from .watching import Watcher as Watcher

# What is where. A module is imported when one of its names is asked for first: a program that makes
# a sandbox and runs a command needs neither charts nor an event loop.
MODULES = {
    "_config": "ConnectionConfig",
    "_handle": "AsyncCommandHandle CommandHandle",
    "charts": "BarChart BoxAndWhiskerChart Chart ChartType LineChart PieChart ScaleType"
    " ScatterChart SuperChart",
    "client": "E2B",
    "commands": "AsyncCommandInputHandle AsyncCommands AsyncPty Commands Pty",
    "entries": "EntryInfo FileType FilesystemEvent FilesystemEventType WriteInfo",
    "errors": "AuthenticationException BuildException FileNotFoundException FileUploadException"
    " InvalidArgumentException NotEnoughSpaceException NotFoundException RateLimitException"
    " SandboxException SandboxNotFoundException SandboxNotRunningException"
    " SandboxUnreachableException ServiceBusyException TemplateException TimeoutException",
    "execution": "Context Execution ExecutionError Logs OutputMessage Result",
    "files": "AsyncByteStream AsyncFiles ByteStream Files",
    "git": "AsyncGit Git GitAuthException GitBranches GitFileStatus GitStatus GitUpstreamException",
    "processes": "CommandExitException CommandResult Output ProcessInfo PtyOutput PtySize Stderr"
    " Stdout",
    "sandbox": "AsyncSandbox Sandbox get_signature",
    "sandboxes": "AsyncPaginator Paginator SandboxInfo SandboxMetrics SandboxQuery"
    " SandboxState SnapshotInfo",
    "watching": "AsyncWatcher Watcher",
}
NAMES = {name: module for module, names in MODULES.items() for name in names.split()}
# Names of the published SDK for what is called otherwise here.
NAMES.update(
    AsyncSandboxPaginator="sandboxes:AsyncPaginator",
    AsyncSnapshotPaginator="sandboxes:AsyncPaginator",
    AsyncWatchHandle="watching:AsyncWatcher",
    SandboxPaginator="sandboxes:Paginator",
    SnapshotPaginator="sandboxes:Paginator",
    WatchHandle="watching:Watcher",
)
ALL_TRAFFIC = "0.0.0.0/0"

__all__ = sorted([*NAMES, "ALL_TRAFFIC"])


def __getattr__(name: str) -> Any:
    where = NAMES.get(name)
    if where is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, real = where.partition(":")
    value = getattr(importlib.import_module(f".{module}", __name__), real or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *NAMES})
