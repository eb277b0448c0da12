# SPDX-License-Identifier: Apache-2.0
"""Sandboxes as values: what the server tells of them, and lists of them in pages."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from ._operation import Awaiting, Blocking, operation
from .entries import parse_time
from .errors import SandboxException

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

T = TypeVar("T")


class SandboxState(str, enum.Enum):
    """Whether a sandbox runs or is paused."""

    RUNNING = "running"
    PAUSED = "paused"

    __str__ = str.__str__


@dataclass
class SandboxInfo:
    """A sandbox as the server sees it. Memory is in MiB; `lifecycle` is what happens at its end, as
    create() takes it."""

    sandbox_id: str
    sandbox_domain: str | None
    template_id: str
    name: str | None
    metadata: dict[str, str]
    started_at: datetime
    end_at: datetime
    state: SandboxState
    cpu_count: int
    memory_mb: int
    envd_version: str
    allow_internet_access: bool | None = None
    network: dict[str, Any] | None = None
    lifecycle: dict[str, Any] | None = None
    volume_mounts: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def from_dict(cls, reply: dict[str, Any]) -> SandboxInfo:
        cycle = reply.get("lifecycle")
        return cls(
            reply["sandboxID"],
            reply.get("domain"),
            reply["templateID"],
            reply.get("alias"),
            reply.get("metadata") or {},
            parse_time(reply["startedAt"]),
            parse_time(reply["endAt"]),
            SandboxState(reply["state"]),
            reply["cpuCount"],
            reply["memoryMB"],
            reply["envdVersion"],
            reply.get("allowInternetAccess"),
            reply.get("network"),
            {"on_timeout": cycle["onTimeout"], "auto_resume": cycle["autoResume"]}
            if cycle
            else None,
            reply.get("volumeMounts") or [],
        )


@dataclass
class SandboxMetrics:
    """One sample of what a sandbox uses: bytes, and percent of its CPUs."""

    cpu_count: int
    cpu_used_pct: float
    disk_total: int
    disk_used: int
    mem_total: int
    mem_used: int
    mem_cache: int
    timestamp: datetime

    @classmethod
    def from_dict(cls, reply: dict[str, Any]) -> SandboxMetrics:
        return cls(
            reply["cpuCount"],
            reply["cpuUsedPct"],
            reply["diskTotal"],
            reply["diskUsed"],
            reply["memTotal"],
            reply["memUsed"],
            reply.get("memCache", 0),
            parse_time(reply["timestamp"]),
        )


@dataclass
class SandboxQuery:
    """Which sandboxes to list: all that fit every member that is given."""

    metadata: dict[str, str] | None = None
    state: list[SandboxState] | None = None
    started_after: datetime | None = None
    template: str | None = None

    def parameters(self) -> dict[str, str]:
        found = {}
        if self.metadata:
            # The server decodes the query, and then each side of each pair once more.
            pairs = ((quote(k, safe=""), quote(v, safe="")) for k, v in self.metadata.items())
            found["metadata"] = "&".join(f"{key}={value}" for key, value in pairs)
        if self.state:
            found["state"] = ",".join(SandboxState(state).value for state in self.state)
        if self.started_after:
            moment = self.started_after.astimezone(timezone.utc)
            found["startedAfter"] = moment.isoformat().replace("+00:00", "Z")
        if self.template:
            found["template"] = self.template
        return found


@dataclass
class SnapshotInfo:
    """A snapshot, from which sandboxes can be created as from a template."""

    snapshot_id: str
    names: list[str] = field(default_factory=list)

    @classmethod
    def from_dict(cls, reply: dict[str, Any]) -> SnapshotInfo:
        return cls(reply["snapshotID"], reply.get("names") or [])


class _Paginator(Generic[T]):
    """A list that comes in pages: `next_items()` while `has_next`, or simply iterate."""

    def __init__(
        self,
        api: Any,
        path: str,
        parameters: dict[str, Any],
        next_token: str | None,
        parse: Callable[[dict[str, Any]], T],
    ) -> None:
        self._api, self._path, self._parameters, self._parse = api, path, parameters, parse
        self._token = next_token
        self._more = True

    @property
    def has_next(self) -> bool:
        return self._more

    @property
    def next_token(self) -> str | None:
        """Where the next page begins, for another paginator to go on."""
        return self._token

    @operation
    async def next_items(self, request_timeout: float | None = None) -> list[T]:
        """The next page."""
        if not self._more:
            raise SandboxException("there are no more pages")
        parameters = {**self._parameters, "nextToken": self._token}
        given = {name: value for name, value in parameters.items() if value is not None}
        response, reply = await self._api.request(
            "GET", f"{self._path}?{urlencode(given)}", None, request_timeout, True
        )
        self._token = response.headers.get("x-next-token") or None
        self._more = self._token is not None
        return [self._parse(item) for item in reply]


class Paginator(Blocking, _Paginator[T]):
    __doc__ = _Paginator.__doc__

    def __iter__(self) -> Iterator[T]:
        while self.has_next:
            yield from self.next_items()


class AsyncPaginator(Awaiting, _Paginator[T]):
    __doc__ = _Paginator.__doc__

    async def __aiter__(self) -> AsyncIterator[T]:
        while self.has_next:
            for item in await self.next_items():
                yield item
