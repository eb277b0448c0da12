# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one server for the whole run, and sandboxes on it."""

import os
import subprocess
import sys

import pytest
from e2b import Sandbox

from harness import BINARY, TEMPLATES, Residue, Server, eventually, pointed_at


def pytest_configure(config):
    config.addinivalue_line("markers", "network: needs the package registries from inside")
    config.addinivalue_line("markers", "slow: takes several seconds by its nature")


def pytest_sessionstart(session):
    if not BINARY.exists():
        raise pytest.UsageError(f"{BINARY} is not built (make)")
    if not (TEMPLATES / "base" / "rootfs").is_dir():
        raise pytest.UsageError(f"no template in {TEMPLATES} (make template)")
    if os.geteuid() != 0:
        raise pytest.UsageError("these tests start a server and need root")


@pytest.fixture(scope="session")
def server():
    """The server that all tests share. Its end is a test of its own: see test_zz_leftovers."""
    server = Server(extra=["--memory-mb", "512"])  # so that a bomb goes off soon
    yield from serving(server)


def serving(server):
    """Starts the server and points the SDK at it; undoes both afterwards."""
    with pointed_at(server):
        yield server
    if server.proc is not None:
        finish(server)


def finish(server):
    """Stops the server and asserts that it ended well and left nothing."""
    status = server.stop()
    assert status == 0, f"exit status {status}\n{server.log_tail()}"
    # A namespace that was just dropped takes its veth pair along some milliseconds later.
    left = {}

    def clean():
        left.clear()
        left.update(Residue.of(server).all())
        return not left

    try:
        eventually(clean, 5.0, "a host without leftovers")
    except AssertionError:
        raise AssertionError(f"left on the host: {left}") from None
    server.remove()


@pytest.fixture
def sandbox(server):
    """A fresh sandbox, killed afterwards."""
    sandbox = Sandbox.create(timeout=120)
    yield sandbox
    sandbox.kill()


@pytest.fixture(scope="module")
def shared(server):
    """One sandbox for the tests of a module that do not mind what others left in it."""
    sandbox = Sandbox.create(timeout=600)
    yield sandbox
    sandbox.kill()


@pytest.fixture
def create(server):
    """Sandbox.create with clean-up of whatever was made."""
    made = []

    def create(*args, **options):
        options.setdefault("timeout", 120)
        made.append(Sandbox.create(*args, **options))
        return made[-1]

    yield create
    for sandbox in made:
        sandbox.kill()


@pytest.fixture
def own_server():
    """A server of the test's own, for tests that hurt it."""
    yield from serving(Server())


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    """Skips unless this host itself reaches a Python package registry."""
    probe = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-cache-dir",
            "--dest",
            str(tmp_path_factory.mktemp("probe")),
            "iniconfig",
        ],
        capture_output=True,
    )
    if probe.returncode != 0:
        pytest.skip("this host reaches no package registry")
