# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, as exceptions: the names of the published SDK, with the cause in each."""

from __future__ import annotations


class SandboxException(Exception):
    """Base of all errors of this package.

    `code` is the server's name of the error, such as "not_found", and `status_code` the HTTP status
    it came with; each is None where there was none.
    """

    code: str | None = None
    status_code: int | None = None

    def __init__(
        self, message: str = "", *, code: str | None = None, status_code: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status_code = status_code


class TimeoutException(SandboxException):
    """Something took longer than it was given, or the sandbox has ended."""


class SandboxNotRunningException(TimeoutException):
    """The sandbox was killed, has reached its timeout, or never was."""


class SandboxUnreachableException(TimeoutException):
    """The server cannot be reached, or the connection broke and it is unknown what was done."""


class AuthenticationException(SandboxException):
    """The key or a token is missing or wrong, or the user does not exist in the sandbox."""


class InvalidArgumentException(SandboxException):
    """An argument that cannot be right."""


class NotFoundException(SandboxException):
    """What was named does not exist."""


class FileNotFoundException(NotFoundException):
    """There is no such file or directory in the sandbox."""


class SandboxNotFoundException(NotFoundException):
    """There is no such sandbox, or it belongs to another project."""


class NotEnoughSpaceException(SandboxException):
    """The sandbox's disk is full."""


class RateLimitException(SandboxException):
    """Too much at once: too many sandboxes, too many requests."""


class ServiceBusyException(SandboxException):
    """The server has no room for this now; later it may."""


class TemplateException(SandboxException):
    """The template cannot be used."""


class BuildException(SandboxException):
    """A template could not be built."""


class FileUploadException(BuildException):
    """A file of a template could not be uploaded."""


class ConnectionLost(Exception):
    """The connection broke before the answer was whole. Inside this package only: what it means
    to the caller depends on the request."""


CONNECT = {
    "canceled": TimeoutException,
    "invalid_argument": InvalidArgumentException,
    "deadline_exceeded": TimeoutException,
    "not_found": NotFoundException,
    "resource_exhausted": RateLimitException,
    "unavailable": SandboxUnreachableException,
    "unauthenticated": AuthenticationException,
}

HTTP = {
    400: InvalidArgumentException,
    401: AuthenticationException,
    404: NotFoundException,
    429: RateLimitException,
    502: SandboxUnreachableException,
    503: ServiceBusyException,
    504: TimeoutException,
    507: NotEnoughSpaceException,
}

GONE = "it was killed or reached its end of life (set_timeout() moves that)"


def sandbox_gone(message: str) -> SandboxNotRunningException:
    return SandboxNotRunningException(f"{message}: {GONE}", code="unavailable", status_code=502)


def from_reply(status: int, payload: object, body: bytes = b"") -> SandboxException:
    """The error that an HTTP reply with a status of 300 or more tells; `payload` is its JSON."""
    reply = payload if isinstance(payload, dict) else {}
    message = str(reply.get("message") or body[:500].decode(errors="replace") or "no message")
    if status == 502 and "not found" in message:
        return sandbox_gone(message)
    code = reply.get("code")
    if isinstance(code, str):
        kind = CONNECT.get(code, SandboxException)
        return kind(message, code=code, status_code=status)
    if status not in HTTP:
        message = f"{status}: {message}"
    return HTTP.get(status, SandboxException)(message, status_code=status)


def from_end_frame(error: dict) -> SandboxException:
    """The error in the last frame of a stream."""
    code = str(error.get("code", "unknown"))
    message = str(error.get("message", "")) or code
    return CONNECT.get(code, SandboxException)(message, code=code)
