# SPDX-License-Identifier: Apache-2.0
"""Where the server is, who we are and how long we wait: arguments first, then the environment."""

from __future__ import annotations

import os
import re
from typing import Any

from .errors import AuthenticationException, InvalidArgumentException

DEFAULT_URL = "http://127.0.0.1:3000"  # where `carrel serve` listens
REQUEST_TIMEOUT = 60.0
AGENT_PORT = 49983
CODE_PORT = 49999
# Domains whose sandboxes are all reached under one name, told apart by headers.
SHARED_DOMAINS = ("e2b.app", "e2b.dev", "e2b.pro", "e2b-staging.dev")
KEY = re.compile(r"e2b_[0-9a-f]+")


class ConnectionConfig:
    """How to reach a server.

    api_key          E2B_API_KEY      what `carrel env` or `carrel key create` prints
    api_url          E2B_API_URL      http://127.0.0.1:3000
    sandbox_url      E2B_SANDBOX_URL  the API's address: carrel serves both in one place
    domain           E2B_DOMAIN       when sandboxes are reached by name, https://49983-<id>.<domain>
    request_timeout                   seconds to wait for the peer, 60; 0 waits for ever
    headers, api_headers              sent with every request to the API
    validate_api_key E2B_VALIDATE_API_KEY   "false" lets any key pass
    """

    OPTIONS = (
        "api_key",
        "api_url",
        "sandbox_url",
        "domain",
        "request_timeout",
        "headers",
        "api_headers",
        "validate_api_key",
        "debug",
    )

    def __init__(
        self,
        api_key: str | None = None,
        api_url: str | None = None,
        sandbox_url: str | None = None,
        domain: str | None = None,
        request_timeout: float | None = None,
        headers: dict[str, str] | None = None,
        api_headers: dict[str, str] | None = None,
        validate_api_key: bool | None = None,
        debug: bool | None = None,
    ) -> None:
        self.api_key = api_key or os.environ.get("E2B_API_KEY")
        self.domain = domain or os.environ.get("E2B_DOMAIN")
        default = f"https://api.{self.domain}" if self.domain else DEFAULT_URL
        self.api_url: str = api_url or os.environ.get("E2B_API_URL") or default
        self.sandbox_url = sandbox_url or os.environ.get("E2B_SANDBOX_URL")
        if not self.sandbox_url and not self.domain:
            self.sandbox_url = self.api_url
        self.request_timeout = REQUEST_TIMEOUT if request_timeout is None else request_timeout
        self.headers = {**(headers or {}), **(api_headers or {})}
        if validate_api_key is None:
            validate_api_key = os.environ.get("E2B_VALIDATE_API_KEY", "").lower() != "false"
        self.validate_api_key = validate_api_key

    def seconds(self, request_timeout: float | None) -> float | None:
        """The timeout of one request: as asked, else as configured. None waits for ever."""
        chosen = self.request_timeout if request_timeout is None else request_timeout
        return chosen or None

    def changed(self, options: dict[str, Any]) -> ConnectionConfig:
        """The same with some options given anew; taken out of `options`."""
        given = {name: options.pop(name) for name in self.OPTIONS if name in options}
        if not given:
            return self
        own = {name: getattr(self, name, None) for name in self.OPTIONS}
        return ConnectionConfig(**{**own, **given})

    def key(self) -> str:
        if not self.api_key:
            raise AuthenticationException(
                "there is no API key: set E2B_API_KEY (`carrel env` prints it) or pass api_key"
            )
        if self.validate_api_key and not KEY.fullmatch(self.api_key):
            raise AuthenticationException(
                "the API key does not look like one: e2b_ and hexadecimal digits are expected"
            )
        return self.api_key

    def host(self, sandbox_id: str, domain: str | None, port: int) -> str:
        name = domain or self.domain
        if not name:
            raise InvalidArgumentException("the server has no domain for sandboxes")
        return f"{port}-{sandbox_id}.{name}"

    def url(self, sandbox_id: str, domain: str | None, port: int) -> str:
        """Where a port of a sandbox is reached; requests name the sandbox in headers, too."""
        if self.sandbox_url:
            return self.sandbox_url
        if (domain or self.domain) in SHARED_DOMAINS:
            return f"https://sandbox.{domain or self.domain}"
        return f"https://{self.host(sandbox_id, domain, port)}"


def options_of(options: dict[str, Any], where: str) -> ConnectionConfig:
    """The configuration in a call's options; nothing else may be in them."""
    config = ConnectionConfig(
        **{name: options.pop(name) for name in ConnectionConfig.OPTIONS if name in options}
    )
    no_more(options, where)
    return config


def no_more(options: dict[str, Any], where: str) -> None:
    if options:
        raise TypeError(f"{where}: unknown arguments: {', '.join(sorted(options))}")
