# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one server for the whole run, and sandboxes on it, made by the package of this tree."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "tests" / "e2e")]

from carrel import AsyncSandbox, Sandbox  # noqa: E402
from harness import TEMPLATES, Server, pointed_at  # noqa: E402

HAS_CODE = (TEMPLATES / "code-interpreter-v1" / "rootfs").is_dir()
needs_code = pytest.mark.skipif(not HAS_CODE, reason="no template code-interpreter-v1")


def pytest_sessionstart(session):
    if os.geteuid() != 0:
        raise pytest.UsageError("these tests start a server and need root")


def environment():
    """Of programs that are to find the package of this tree."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "python"), "PYTHONUNBUFFERED": "1"}


def run_python(script, directory, *arguments):
    """Runs a program, given as text, in a process of its own."""
    return subprocess.run(
        [sys.executable, *(arguments or ("-c", script))],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=110,
    )


def serving(server):
    """Starts a server and points the package at it; undoes both afterwards."""
    with pointed_at(server):
        yield server
    status = server.stop()
    assert status in (0, None), f"exit status {status}\n{server.log_tail()}"
    server.remove()


@pytest.fixture(scope="session")
def server():
    yield from serving(Server())


@pytest.fixture
def own_server(server):
    """A server of the test's own, for tests that hurt it."""
    yield from serving(Server(ephemeral=True))


@pytest.fixture(scope="session")
def shared(server):
    """One sandbox for all tests that do not mind what others left in it."""
    with Sandbox("base", timeout=900) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server):
    with Sandbox("base", timeout=300) as sandbox:
        yield sandbox


@pytest.fixture
async def awaiting(shared):
    """The shared sandbox, for `await`."""
    return await AsyncSandbox.connect(shared.sandbox_id)


@pytest.fixture
def folder(shared, request):
    """A directory of the test's own in the shared sandbox."""
    path = f"/home/user/{request.node.name}".replace("[", "-").replace("]", "")
    shared.files.make_dir(path)
    return path
