# SPDX-License-Identifier: Apache-2.0
"""Git in a sandbox, through its own `git`: the template must have it.

Every call takes `envs`, `user`, `cwd`, `timeout` and `request_timeout` as commands.run() does. A
password goes to git through a variable of that one process and is stored nowhere, unless a call
says so.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Any

from ._operation import Awaiting, Blocking, operation
from .commands import _Commands
from .errors import AuthenticationException, InvalidArgumentException, SandboxException
from .processes import CommandExitException

RUN = vars(_Commands)["run"].awaited  # commands.run() to be awaited, of either kind of commands
QUIET = {"GIT_TERMINAL_PROMPT": "0"}
# Gives git what is in two variables of its process when it asks for a user and a password.
HELPER = '!f() { echo "username=$CARREL_GIT_USER"; echo "password=$CARREL_GIT_PASSWORD"; }; f'
REFUSED = ("authentication failed", "could not read username", "terminal prompts disabled", "403")
NO_UPSTREAM = ("no upstream branch", "no tracking information", "no configured push destination")


class GitAuthException(AuthenticationException):
    """The remote wants a user and a password, or refuses those it was given."""


class GitUpstreamException(SandboxException):
    """The branch has no upstream."""


@dataclass
class GitFileStatus:
    """A file that is not as the last commit has it; the two letters are those of git status."""

    name: str
    status: str
    index_status: str
    working_tree_status: str
    staged: bool
    renamed_from: str | None = None


@dataclass
class GitStatus:
    """Where a repository stands."""

    current_branch: str | None = None
    upstream: str | None = None
    ahead: int = 0
    behind: int = 0
    detached: bool = False
    file_status: list[GitFileStatus] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.file_status

    @property
    def has_changes(self) -> bool:
        return bool(self.file_status)

    @property
    def has_staged(self) -> bool:
        return any(file.staged for file in self.file_status)

    @property
    def has_untracked(self) -> bool:
        return any(file.index_status == "?" for file in self.file_status)

    @property
    def has_conflicts(self) -> bool:
        return any(file.status == "conflict" for file in self.file_status)


@dataclass
class GitBranches:
    """The local branches; the current one is None when no branch is checked out."""

    branches: list[str]
    current_branch: str | None


KINDS = {
    "M": "modified",
    "A": "added",
    "D": "deleted",
    "R": "renamed",
    "C": "copied",
    "T": "typechange",
    "?": "untracked",
    "!": "ignored",
}
CONFLICTS = ("DD", "AU", "UD", "UA", "DU", "AA", "UU")


def parse_status(output: str) -> GitStatus:
    """The output of `git status --porcelain=v2 --branch -z`."""
    status = GitStatus()
    items = iter(output.split("\0"))
    for item in items:
        words = item.split(" ")
        if item.startswith("# branch.head "):
            status.detached = words[2] == "(detached)"
            status.current_branch = None if status.detached else words[2]
        elif item.startswith("# branch.upstream "):
            status.upstream = words[2]
        elif item.startswith("# branch.ab "):
            status.ahead, status.behind = int(words[2]), -int(words[3])
        elif words[0] in ("1", "2", "u"):
            name = item.split(" ", {"1": 8, "2": 9, "u": 10}[words[0]])[-1]
            origin = next(items) if words[0] == "2" else None
            status.file_status.append(file_status(words[1].replace(".", " "), name, origin))
        elif words[0] in ("?", "!"):
            status.file_status.append(file_status(words[0] * 2, item[2:], None))
    return status


def file_status(letters: str, name: str, origin: str | None) -> GitFileStatus:
    index, tree = letters[0], letters[1]
    if letters in CONFLICTS:
        kind = "conflict"
    else:
        kind = KINDS.get(index if index != " " else tree, "unknown")
    staged = index not in " ?!" and kind != "conflict"
    return GitFileStatus(name, kind, index, tree, staged, origin)


class _Git:
    def __init__(self, commands: Any) -> None:
        self._commands = commands

    async def _git(
        self,
        arguments: list[str],
        path: str | None,
        options: dict[str, Any],
        username: str | None = None,
        password: str | None = None,
    ) -> str:
        """Runs git in a repository and returns what it prints."""
        if (username is None) != (password is None):
            raise InvalidArgumentException("a user and a password are given together")
        before = ["git"] + (["-C", path] if path else [])
        envs = {**QUIET, **(options.pop("envs", None) or {})}
        if username is not None:
            before += ["-c", "credential.helper=", "-c", f"credential.helper={HELPER}"]
            envs.update(CARREL_GIT_USER=username, CARREL_GIT_PASSWORD=password or "")
        timeout = options.pop("timeout", None)
        if timeout is not None:
            options["timeout"] = timeout
        try:
            result = await RUN(
                self._commands, shlex.join([*before, *arguments]), envs=envs, **options
            )
        except CommandExitException as failure:
            said = failure.stderr.lower()
            if any(text in said for text in REFUSED):
                raise GitAuthException(failure.stderr.strip()) from failure
            if any(text in said for text in NO_UPSTREAM):
                raise GitUpstreamException(failure.stderr.strip()) from failure
            raise
        return result.stdout

    @operation
    async def clone(
        self,
        url: str,
        path: str | None = None,
        branch: str | None = None,
        depth: int | None = None,
        username: str | None = None,
        password: str | None = None,
        **options: Any,
    ) -> None:
        """Clones a repository."""
        arguments = ["clone", "--quiet"]
        arguments += ["--branch", branch] if branch else []
        arguments += ["--depth", str(depth)] if depth else []
        arguments += ["--", url] + ([path] if path else [])
        await self._git(arguments, None, options, username, password)

    @operation
    async def init(
        self, path: str, bare: bool = False, initial_branch: str | None = None, **options: Any
    ) -> None:
        """Makes an empty repository."""
        arguments = ["init", "--quiet"] + (["--bare"] if bare else [])
        arguments += [f"--initial-branch={initial_branch}"] if initial_branch else []
        await self._git([*arguments, "--", path], None, options)

    @operation
    async def remote_add(
        self,
        path: str,
        name: str,
        url: str,
        fetch: bool = False,
        overwrite: bool = False,
        **options: Any,
    ) -> None:
        """Names a remote repository; `overwrite` gives a name that is taken another address."""
        known = overwrite and await self._remote(path, name, dict(options)) is not None
        arguments = ["set-url"] if known else ["add", *(["--fetch"] if fetch else [])]
        await self._git(["remote", *arguments, name, url], path, options)

    async def _remote(self, path: str, name: str, options: dict[str, Any]) -> str | None:
        try:
            return (await self._git(["remote", "get-url", name], path, options)).strip()
        except CommandExitException:
            return None

    @operation
    async def remote_get(self, path: str, name: str, **options: Any) -> str | None:
        """The address of a remote repository; None if there is none of this name."""
        return await self._remote(path, name, options)

    @operation
    async def status(self, path: str, **options: Any) -> GitStatus:
        """The branch, and the files that are not as the last commit has them."""
        return parse_status(
            await self._git(["status", "--porcelain=v2", "--branch", "-z"], path, options)
        )

    @operation
    async def branches(self, path: str, **options: Any) -> GitBranches:
        """The local branches."""
        arguments = ["branch", "--format=%(HEAD)%(refname:short)"]
        lines = (await self._git(arguments, path, options)).splitlines()
        names = [line[1:] for line in lines if not line[1:].startswith("(")]
        current = next((line[1:] for line in lines if line[0] == "*" and line[1] != "("), None)
        return GitBranches(names, current)

    @operation
    async def create_branch(self, path: str, branch: str, **options: Any) -> None:
        """Makes a branch and checks it out."""
        await self._git(["checkout", "--quiet", "-b", branch], path, options)

    @operation
    async def checkout_branch(self, path: str, branch: str, **options: Any) -> None:
        """Checks out a branch."""
        await self._git(["checkout", "--quiet", branch, "--"], path, options)

    @operation
    async def delete_branch(
        self, path: str, branch: str, force: bool = False, **options: Any
    ) -> None:
        """Removes a branch; one that is not merged only with `force`."""
        await self._git(["branch", "-D" if force else "-d", "--", branch], path, options)

    @operation
    async def add(
        self, path: str, files: list[str] | None = None, all: bool = True, **options: Any
    ) -> None:
        """Stages files, or all changes."""
        what = ["--", *files] if files else ["--all"] if all else ["--", "."]
        await self._git(["add", *what], path, options)

    @operation
    async def commit(
        self,
        path: str,
        message: str,
        author_name: str | None = None,
        author_email: str | None = None,
        allow_empty: bool = False,
        **options: Any,
    ) -> None:
        """Commits what is staged."""
        author = {"user.name": author_name, "user.email": author_email}
        arguments = []
        for key, value in author.items():
            arguments += ["-c", f"{key}={value}"] if value else []
        arguments += ["commit", "--quiet", "-m", message]
        await self._git(arguments + (["--allow-empty"] if allow_empty else []), path, options)

    @operation
    async def reset(
        self,
        path: str,
        mode: str | None = None,
        target: str | None = None,
        paths: list[str] | None = None,
        **options: Any,
    ) -> None:
        """Moves the branch, or unstages paths."""
        arguments = ["reset", "--quiet"] + ([f"--{mode}"] if mode else [])
        arguments += [target] if target else []
        await self._git(arguments + (["--", *paths] if paths else []), path, options)

    @operation
    async def restore(
        self,
        path: str,
        paths: list[str],
        staged: bool | None = None,
        worktree: bool | None = None,
        source: str | None = None,
        **options: Any,
    ) -> None:
        """Gives files the content they had."""
        arguments = ["restore"] + (["--staged"] if staged else [])
        arguments += ["--worktree"] if worktree else []
        arguments += [f"--source={source}"] if source else []
        await self._git([*arguments, "--", *paths], path, options)

    @operation
    async def push(
        self,
        path: str,
        remote: str | None = None,
        branch: str | None = None,
        set_upstream: bool = True,
        username: str | None = None,
        password: str | None = None,
        **options: Any,
    ) -> None:
        """Sends commits to a remote repository, `origin` and the current branch by default."""
        arguments = ["push", "--quiet"] + (["--set-upstream"] if set_upstream else [])
        arguments += [remote or "origin", branch or "HEAD"]
        await self._git(arguments, path, options, username, password)

    @operation
    async def pull(
        self,
        path: str,
        remote: str | None = None,
        branch: str | None = None,
        username: str | None = None,
        password: str | None = None,
        **options: Any,
    ) -> None:
        """Takes in commits of a remote repository."""
        arguments = ["pull", "--quiet"] + ([remote or "origin"] if remote or branch else [])
        await self._git(arguments + ([branch] if branch else []), path, options, username, password)

    @operation
    async def set_config(
        self, key: str, value: str, scope: str = "global", path: str | None = None, **options: Any
    ) -> None:
        """Sets an option of git, for the user ("global"), the system or a repository ("local")."""
        await self._git(["config", f"--{scope}", key, value], path, options)

    @operation
    async def get_config(
        self, key: str, scope: str = "global", path: str | None = None, **options: Any
    ) -> str | None:
        """An option of git; None if it is not set."""
        try:
            return (await self._git(["config", f"--{scope}", key], path, options)).rstrip("\n")
        except CommandExitException:
            return None

    @operation
    async def configure_user(
        self, name: str, email: str, scope: str = "global", path: str | None = None, **options: Any
    ) -> None:
        """Says who commits."""
        await self._git(["config", f"--{scope}", "user.name", name], path, dict(options))
        await self._git(["config", f"--{scope}", "user.email", email], path, options)

    @operation
    async def dangerously_authenticate(
        self,
        username: str,
        password: str,
        host: str = "github.com",
        protocol: str = "https",
        **options: Any,
    ) -> None:
        """Stores a user and a password for a host in the sandbox, for all that runs in it."""
        fields = {"protocol": protocol, "host": host, "username": username, "password": password}
        text = "".join(f"{name}={value}\n" for name, value in fields.items()) + "\n"
        await self._git(["config", "--global", "credential.helper", "store"], None, dict(options))
        envs = {**QUIET, "CARREL_GIT_CREDENTIAL": text}
        await RUN(
            self._commands, 'printf %s "$CARREL_GIT_CREDENTIAL" | git credential approve', envs=envs
        )


class Git(Blocking, _Git):
    __doc__ = __doc__


class AsyncGit(Awaiting, _Git):
    __doc__ = __doc__
