# SPDX-License-Identifier: Apache-2.0
"""Sandboxes: made, found again, kept alive, paused and killed; what is in them is in files.py,
commands.py and code.py."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from ._config import AGENT_PORT, CODE_PORT, ConnectionConfig, options_of
from ._endpoint import Endpoint, SandboxEndpoint
from ._operation import Awaiting, Blocking, finish, operation, operation_by_id
from .code import CodeOperations
from .commands import AsyncCommands, AsyncPty, Commands, Pty
from .errors import NotFoundException, SandboxException, SandboxNotFoundException
from .files import AsyncFiles, Files
from .sandboxes import (
    AsyncPaginator,
    Paginator,
    SandboxInfo,
    SandboxMetrics,
    SandboxQuery,
    SnapshotInfo,
)

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import datetime

    from typing_extensions import Self

    from .git import AsyncGit, Git

TIMEOUT = 300  # seconds that a sandbox lives, if the caller does not say


class _Sandbox(CodeOperations):
    """What both kinds of sandboxes are."""

    default_template = "code-interpreter-v1"
    default_sandbox_timeout = TIMEOUT

    _bound: dict[str, Any] = {}  # options of the connection that a client was made with
    _io: Any
    _kinds: Any
    _paginator: Any

    sandbox_id: str
    sandbox_domain: str | None
    traffic_access_token: str | None

    def _use(self, config: ConnectionConfig) -> Self:
        self.connection_config = config
        self._api = self._api_of(config, self._io)
        return self

    @staticmethod
    def _api_of(config: ConnectionConfig, io: Any) -> Endpoint:
        return Endpoint(io, config.api_url, {**config.headers, "X-API-KEY": config.key()}, config)

    @classmethod
    def _blank(cls, options: dict[str, Any], where: str) -> Self:
        """A sandbox that is none yet, with its connection set up."""
        return cls.__new__(cls)._use(options_of({**cls._bound, **options}, where))

    @classmethod
    def _of_id(cls, sandbox_id: str, options: dict[str, Any]) -> Self:
        """One that only its id is known of, for calls to the control API. Takes the options of the
        connection out of `options`."""
        names = [name for name in options if name in ConnectionConfig.OPTIONS]
        names = [name for name in names if name != "request_timeout"]
        blank = cls._blank({name: options.pop(name) for name in names}, cls.__name__)
        blank.sandbox_id = sandbox_id
        return blank

    def _attach(self, reply: dict[str, Any]) -> Self:
        """Makes it the sandbox that the server has answered with."""
        self.sandbox_id = reply["sandboxID"]
        self.sandbox_domain = reply.get("domain") or None
        self.envd_version = reply.get("envdVersion", "")
        self.traffic_access_token = reply.get("trafficAccessToken")
        self._token = reply.get("envdAccessToken")
        tokens = {"X-Access-Token": self._token} if self._token else {}
        self._agent = self._port(AGENT_PORT, tokens)
        traffic = self.traffic_access_token
        more = {"E2B-Traffic-Access-Token": traffic} if traffic else {}
        self._code = self._port(CODE_PORT, {**tokens, **more})
        files, commands, pty = self._kinds
        self.files = files(self._agent)
        self.commands = commands(self._agent)
        self.pty = pty(self._agent)
        return self

    def _port(self, port: int, tokens: dict[str, str]) -> SandboxEndpoint:
        config = self.connection_config
        return SandboxEndpoint(self._io, config, self.sandbox_id, self.sandbox_domain, port, tokens)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, 'sandbox_id', 'not created yet')}>"

    # ---- made and found again ----

    async def _create(
        self,
        template: str | None = None,
        timeout: int | None = None,
        metadata: dict[str, str] | None = None,
        envs: dict[str, str] | None = None,
        secure: bool | None = None,
        allow_internet_access: bool | None = None,
        mcp: dict[str, Any] | None = None,
        network: dict[str, Any] | None = None,
        lifecycle: dict[str, Any] | None = None,
        volume_mounts: dict[str, str] | None = None,
        iam: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
        request_timeout: float | None = None,
    ) -> Self:
        body: dict[str, Any] = {
            "templateID": template or self.default_template,
            "timeout": self.default_sandbox_timeout if timeout is None else timeout,
            "secure": True if secure is None else secure,
            "allow_internet_access": True
            if allow_internet_access is None
            else allow_internet_access,
            "metadata": metadata or {},
            "envVars": envs or {},
        }
        if mcp is not None:
            body["mcp"] = mcp
        if iam is not None:
            body["iam"] = iam
        if network is not None:
            body["network"] = camel(network)
        if volume_mounts:
            body["volumeMounts"] = [{"path": p, "name": n} for p, n in volume_mounts.items()]
        if lifecycle:
            end = lifecycle.get("on_timeout")
            body["autoPause"] = (end.get("action") if isinstance(end, dict) else end) == "pause"
            if lifecycle.get("auto_resume"):
                body["autoResume"] = {"enabled": True}
        # With a key of its own the request may be sent again: it makes one sandbox.
        headers = {"Idempotency-Key": idempotency_key or os.urandom(16).hex()}
        _, reply = await self._api.request(
            "POST", "/sandboxes", body, request_timeout, again=True, headers=headers
        )
        return self._attach(reply)

    async def _control(
        self, method: str, action: str, body: Any = None, timeout: Any = None, again: bool = False
    ) -> Any:
        """A request to the control API about this sandbox; its answer."""
        target = f"/sandboxes/{quote(self.sandbox_id, safe='')}{action}"
        try:
            return (await self._api.request(method, target, body, timeout, again))[1]
        except SandboxNotFoundException:
            raise
        except NotFoundException as error:
            raise SandboxNotFoundException(str(error), status_code=404) from None

    @operation_by_id
    async def connect(
        self,
        timeout: int | None = None,
        request_timeout: float | None = None,
        on_resume: str = "restore",
    ) -> Self:
        """Finds a sandbox by its id and makes it live for `timeout` seconds more at least; one that
        is paused goes on. `Sandbox.connect("…")`, or `sandbox.connect()`."""
        body: dict[str, Any] = {"timeout": TIMEOUT if timeout is None else timeout}
        if on_resume == "reboot":
            body["memory"] = False
        return self._attach(await self._control("POST", "/connect", body, request_timeout, True))

    # ---- its life ----

    @operation_by_id
    async def kill(self, request_timeout: float | None = None) -> bool:
        """Ends it and all in it. False if there is no such sandbox."""
        try:
            await self._control("DELETE", "", None, request_timeout, True)
        except SandboxNotFoundException:
            return False
        return True

    @operation_by_id
    async def set_timeout(self, timeout: int, request_timeout: float | None = None) -> None:
        """It ends `timeout` seconds from now, sooner or later than before."""
        await self._control("POST", "/timeout", {"timeout": timeout}, request_timeout, True)

    @operation_by_id
    async def get_info(self, request_timeout: float | None = None) -> SandboxInfo:
        """What the server knows of it. Raises SandboxNotFoundException."""
        return SandboxInfo.from_dict(await self._control("GET", "", None, request_timeout, True))

    @operation_by_id
    async def get_metrics(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        request_timeout: float | None = None,
    ) -> list[SandboxMetrics]:
        """What it has used, a sample every few seconds, between two moments."""
        given = {"start": start, "end": end}
        query = {name: int(moment.timestamp()) for name, moment in given.items() if moment}
        action = "/metrics" + (f"?{urlencode(query)}" if query else "")
        reply = await self._control("GET", action, None, request_timeout, True)
        return [SandboxMetrics.from_dict(sample) for sample in reply]

    @operation
    async def is_running(self, request_timeout: float | None = None) -> bool:
        """Whether it runs: not killed, not paused, not at its end."""
        return await self._agent.running(request_timeout)

    @operation_by_id
    async def pause(
        self,
        keep_memory: bool | None = None,
        mode: str | None = None,
        strict: bool = False,
        request_timeout: float | None = None,
    ) -> bool:
        """Stops all in it until the next connect(). False if it was paused already."""
        memory = mode != "filesystem" if mode is not None else keep_memory
        body = {} if memory is None else {"memory": memory}
        try:
            await self._control("POST", "/pause", body, request_timeout)
        except SandboxException as error:
            if error.status_code != 409:
                raise
            return False
        return True

    beta_pause = pause

    @operation_by_id
    async def update_network(
        self, network: dict[str, Any], request_timeout: float | None = None
    ) -> None:
        """Replaces what it may reach."""
        await self._control("PUT", "/network", camel(network), request_timeout, True)

    # ---- copies of it ----

    @operation_by_id
    async def create_snapshot(
        self,
        name: str | None = None,
        mode: str | None = None,
        request_timeout: float | None = None,
    ) -> SnapshotInfo:
        """Keeps its state; new sandboxes can be created from it, by its id as their template."""
        body: dict[str, Any] = {"name": name} if name else {}
        if mode is not None:
            body["memory"] = mode != "filesystem"
        return SnapshotInfo.from_dict(
            await self._control("POST", "/snapshots", body, request_timeout)
        )

    @operation_by_id
    async def fork(
        self,
        timeout: int | None = None,
        count: int | None = None,
        request_timeout: float | None = None,
    ) -> list[Any]:
        """New sandboxes in the state this one is in; for each that failed, its exception."""
        given = {"timeout": timeout, "count": count}
        body = {name: value for name, value in given.items() if value is not None}
        made: list[Any] = []
        for reply in await self._control("POST", "/fork", body, request_timeout):
            if "sandbox" in reply:
                fork = type(self).__new__(type(self))._use(self.connection_config)
                made.append(fork._attach(reply["sandbox"]))
            else:
                made.append(SandboxException(str(reply.get("error", {}).get("message"))))
        return made

    # ---- lists ----

    @classmethod
    def list(
        cls,
        query: SandboxQuery | None = None,
        limit: int | None = None,
        next_token: str | None = None,
        order: str | None = None,
        **options: Any,
    ) -> Any:
        """The sandboxes of this key's project: iterate, or take them page by page."""
        if isinstance(query, dict):
            query = SandboxQuery(**query)
        parameters = {**(query.parameters() if query else {}), "limit": limit, "order": order}
        api = cls._blank(options, "list")._api
        return cls._paginator(api, "/v2/sandboxes", parameters, next_token, SandboxInfo.from_dict)

    @classmethod
    def list_snapshots(
        cls,
        sandbox_id: str | None = None,
        limit: int | None = None,
        next_token: str | None = None,
        **options: Any,
    ) -> Any:
        """The snapshots of this key's project, or of one sandbox."""
        parameters = {"sandboxID": sandbox_id, "limit": limit}
        api = cls._blank(options, "list_snapshots")._api
        return cls._paginator(api, "/snapshots", parameters, next_token, SnapshotInfo.from_dict)

    # ---- addresses ----

    def get_host(self, port: int) -> str:
        """The name and port under which browsers reach a port of it."""
        return self.connection_config.host(self.sandbox_id, self.sandbox_domain, port)

    def get_url(self, port: int) -> str:
        """The address for requests to one of its ports that carry get_headers()."""
        return self.connection_config.url(self.sandbox_id, self.sandbox_domain, port)

    def get_headers(self, port: int) -> dict[str, str]:
        """The headers that bring a request at get_url() to one of its ports."""
        token = self.traffic_access_token
        more = {"E2B-Traffic-Access-Token": token} if token else {}
        return {"E2b-Sandbox-Id": self.sandbox_id, "E2b-Sandbox-Port": str(port), **more}

    def download_url(
        self, path: str, user: str | None = None, use_signature_expiration: int | None = None
    ) -> str:
        """An address that anybody can read this file at without a key, for so many seconds."""
        return self._signed("read", path, user, use_signature_expiration)

    def upload_url(
        self, path: str = "", user: str | None = None, use_signature_expiration: int | None = None
    ) -> str:
        """An address that anybody can post a form with this file to, for so many seconds."""
        return self._signed("write", path, user, use_signature_expiration)

    def _signed(self, what: str, path: str, user: str | None, seconds: int | None) -> str:
        query = {"path": path or None, "username": user}
        if self._token:
            expiration = None if seconds is None else int(time.time()) + seconds
            query.update(get_signature(path, what, user, self._token, expiration))
        given = {name: value for name, value in query.items() if value is not None}
        url = self.connection_config.sandbox_url or f"https://{self.get_host(AGENT_PORT)}"
        return f"{url.rstrip('/')}/files?{urlencode(given)}"


MADE = """An isolated Linux machine, made by {}. It ends by kill(), at the end of its
    `with` block, or when its time is over."""
OPTIONS = """

    template     name or id of its template
    timeout      seconds it lives, 300; set_timeout() moves the end
    metadata     text by name, to find it by in list()
    envs         variables of all its processes
    allow_internet_access, network   what it may reach
    lifecycle    {"on_timeout": "pause" or "kill", "auto_resume": True}

    The options of the connection can be given, too: see ConnectionConfig.
    """


class Sandbox(Blocking, _Sandbox):
    __doc__ = MADE.format("`Sandbox()` or `Sandbox.create()`") + OPTIONS

    _kinds = (Files, Commands, Pty)
    _paginator = Paginator
    files: Files
    commands: Commands
    pty: Pty

    @property
    def git(self) -> Git:
        """Git in the sandbox."""
        from .git import Git

        return Git(self.commands)

    def __init__(self, template: str | None = None, timeout: int | None = None, **options: Any):
        options = {**self._bound, **options}
        self._use(options_of_connection(options))
        finish(self._create(template, timeout, **options))

    @classmethod
    def create(
        cls, template: str | None = None, timeout: int | None = None, **options: Any
    ) -> Self:
        """A new sandbox: the same as Sandbox(…)."""
        return cls(template, timeout, **options)

    @classmethod
    def delete_snapshot(cls, snapshot_id: str, **options: Any) -> bool:
        """Removes a snapshot. False if there is none of this id."""
        return finish(delete_snapshot(cls, snapshot_id, options))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class AsyncSandbox(Awaiting, _Sandbox):
    __doc__ = MADE.format("`await AsyncSandbox.create()` or `async with AsyncSandbox()`") + OPTIONS

    _kinds = (AsyncFiles, AsyncCommands, AsyncPty)
    _paginator = AsyncPaginator
    files: AsyncFiles
    commands: AsyncCommands
    pty: AsyncPty

    @property
    def git(self) -> AsyncGit:
        """Git in the sandbox."""
        from .git import AsyncGit

        return AsyncGit(self.commands)

    def __init__(self, template: str | None = None, timeout: int | None = None, **options: Any):
        options = {**self._bound, **options}
        self._use(options_of_connection(options))
        self._wanted = {"template": template, "timeout": timeout, **options}

    @classmethod
    async def create(
        cls, template: str | None = None, timeout: int | None = None, **options: Any
    ) -> Self:
        """A new sandbox."""
        return await cls(template, timeout, **options)

    def __await__(self) -> Generator[Any, Any, Self]:
        return self._create(**self._wanted).__await__()

    @classmethod
    async def delete_snapshot(cls, snapshot_id: str, **options: Any) -> bool:
        """Removes a snapshot. False if there is none of this id."""
        return await delete_snapshot(cls, snapshot_id, options)

    async def __aenter__(self) -> Self:
        return self if hasattr(self, "sandbox_id") else await self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()


def options_of_connection(options: dict[str, Any]) -> ConnectionConfig:
    """The configuration of a sandbox that is created; its options are taken out, but for the
    timeout of requests, which counts for the creation, too."""
    names = [name for name in ConnectionConfig.OPTIONS if name in options]
    given = {name: options.pop(name) for name in names}
    return ConnectionConfig(**given)


async def delete_snapshot(cls: Any, snapshot_id: str, options: dict[str, Any]) -> bool:
    api = cls._blank(options, "delete_snapshot")._api
    try:
        await api.request("DELETE", f"/templates/{quote(snapshot_id, safe='')}", again=True)
    except NotFoundException:
        return False
    return True


def get_signature(
    path: str, operation: str, user: str | None, token: str, expiration: int | None = None
) -> dict[str, Any]:
    """The parameters that sign an address of a file; `expiration` is in seconds since 1970."""
    raw = f"{path}:{operation}:{user or ''}:{token}"
    raw += "" if expiration is None else f":{expiration}"
    digest = base64.b64encode(hashlib.sha256(raw.encode()).digest()).decode().rstrip("=")
    return {"signature": f"v1_{digest}", "signature_expiration": expiration}


def camel(options: dict[str, Any]) -> dict[str, Any]:
    """Options of the network as the wire names them."""
    found = {}
    for name, value in options.items():
        first, *rest = name.split("_")
        plain = name == "allow_internet_access"
        found[name if plain else first + "".join(map(str.capitalize, rest))] = value
    return found
