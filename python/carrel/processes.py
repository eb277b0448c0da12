# SPDX-License-Identifier: Apache-2.0
"""Processes of a sandbox as values: results, what they print, how they failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .errors import SandboxException

Stdout = str
Stderr = str
PtyOutput = bytes


@dataclass
class PtySize:
    """The size of a terminal in characters."""

    rows: int
    cols: int


@dataclass
class CommandResult:
    """How a command ended. `exit_code` is -1 and `error` says which signal if one killed it;
    `missed` counts the bytes of output that were lost because nobody read them in time."""

    stderr: str
    stdout: str
    exit_code: int
    error: str | None = None
    missed: int = 0


class CommandExitException(SandboxException):
    """A command ended with an exit code other than 0. Has all that its result has."""

    def __init__(
        self, stderr: str, stdout: str, exit_code: int, error: str | None = None, missed: int = 0
    ) -> None:
        super().__init__()
        self.stderr, self.stdout = stderr, stdout
        self.exit_code, self.error, self.missed = exit_code, error, missed

    def __str__(self) -> str:
        return f"Command exited with code {self.exit_code} and error:\n{self.stderr}"

    def __reduce__(self) -> Any:
        return type(self), (self.stderr, self.stdout, self.exit_code, self.error, self.missed)


@dataclass
class ProcessInfo:
    """A running process that was started through the API."""

    pid: int
    tag: str | None
    cmd: str
    args: list[str] = field(default_factory=list)
    envs: dict[str, str] = field(default_factory=dict)
    cwd: str | None = None

    @classmethod
    def from_dict(cls, process: dict[str, Any]) -> ProcessInfo:
        config = process.get("config", {})
        return cls(
            process.get("pid", 0),
            process.get("tag"),
            config.get("cmd", ""),
            config.get("args", []),
            config.get("envs", {}),
            config.get("cwd"),
        )


class Output(NamedTuple):
    """One piece of what a process has written: to one of the three, the others are None."""

    stdout: str | None = None
    stderr: str | None = None
    pty: bytes | None = None
