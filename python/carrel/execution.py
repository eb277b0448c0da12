# SPDX-License-Identifier: Apache-2.0
"""What came of running code: results, what was printed, the error."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .charts import Chart, parse_chart

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS = (
    "text",
    "html",
    "markdown",
    "svg",
    "png",
    "jpeg",
    "pdf",
    "latex",
    "json",
    "javascript",
    "data",
    "chart",
)


@dataclass
class OutputMessage:
    """A piece of printed text. `timestamp` is when it was printed."""

    line: str
    timestamp: Any
    error: bool = False

    def __str__(self) -> str:
        return self.line


@dataclass
class ExecutionError:
    """An exception that ended the code."""

    name: str
    value: str
    traceback: str

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass
class Result:
    """One thing to show: the value of the last expression (`is_main_result`) or something that was
    displayed, in all the formats it has. Images and PDF are base64."""

    text: str | None = None
    html: str | None = None
    markdown: str | None = None
    svg: str | None = None
    png: str | None = None
    jpeg: str | None = None
    pdf: str | None = None
    latex: str | None = None
    json: dict[str, Any] | None = None
    javascript: str | None = None
    data: dict[str, Any] | None = None
    chart: Chart | None = None
    is_main_result: bool = False
    extra: dict[str, Any] | None = None

    @classmethod
    def from_dict(cls, message: dict[str, Any]) -> Result:
        known = {name: message[name] for name in cls.__dataclass_fields__ if name in message}
        return cls(**{**known, "chart": parse_chart(message.get("chart"))})

    def formats(self) -> list[str]:
        """The names of the formats it has."""
        return [name for name in FORMATS if getattr(self, name)] + list(self.extra or ())

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __str__(self) -> str:
        kind = "Result" if self.is_main_result else "Display"
        return f"{kind}({self.text or ', '.join(self.formats())})"

    def _repr_html_(self) -> str | None:
        return self.html

    def _repr_png_(self) -> str | None:
        return self.png

    def _repr_svg_(self) -> str | None:
        return self.svg


@dataclass
class Logs:
    """What was printed, in pieces as it came."""

    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass
class Execution:
    """What came of one call: `text` is the value of its last expression."""

    results: list[Result] = field(default_factory=list)
    logs: Logs = field(default_factory=Logs)
    error: ExecutionError | None = None
    execution_count: int | None = None

    @property
    def text(self) -> str | None:
        return next((result.text for result in self.results if result.is_main_result), None)

    def to_json(self) -> str:
        results = [
            {name: plain(result[name]) for name in result.formats()} for result in self.results
        ]
        logs, error = asdict(self.logs), self.error and asdict(self.error)
        return json.dumps({"results": results, "logs": logs, "error": error})

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)


@dataclass
class Context:
    """Where code runs: a process of its own, with the variables that it has made."""

    id: str
    language: str
    cwd: str

    @classmethod
    def from_json(cls, reply: dict[str, str]) -> Context:
        return cls(reply["id"], reply["language"], reply["cwd"])


def plain(value: Any) -> Any:
    return value.to_dict() if isinstance(value, Chart) else value
