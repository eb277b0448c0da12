# SPDX-License-Identifier: Apache-2.0
"""The way out: packages are installed inside, and a sandbox without internet has none."""

import pytest
from e2b import CommandExitException


@pytest.mark.network
@pytest.mark.timeout(180)
class TestRegistries:
    def test_pip_as_user(self, registry, shared):
        shared.commands.run("pip install --no-cache-dir iniconfig", timeout=150)
        assert shared.commands.run(
            "python -c 'import iniconfig; print(iniconfig.__file__)'"
        ).stdout.startswith("/home/user/")

    def test_pip_in_a_virtual_environment(self, registry, shared):
        shared.commands.run(
            "python -m venv ve && ve/bin/pip install --no-cache-dir iniconfig", timeout=150
        )
        assert shared.commands.run("ve/bin/python -c 'import iniconfig; print(1)'").stdout == "1\n"

    def test_npm(self, registry, shared):
        shared.commands.run(
            "mkdir -p js && cd js && npm init -y >/dev/null && npm install is-number", timeout=150
        )
        result = shared.commands.run("cd js && node -p 'require(\"is-number\")(42)'")
        assert result.stdout == "true\n"

    def test_apt(self, registry, shared):
        shared.commands.run("sudo apt-get update", timeout=150)
        shared.commands.run("sudo apt-get install -y --no-install-recommends hello", timeout=150)
        assert shared.commands.run("hello").stdout == "Hello, world!\n"


def test_names_resolve_where_they_should(shared):
    assert shared.commands.run("getent hosts localhost").stdout.strip()
    assert shared.commands.run("getent hosts $(hostname)").stdout.strip()


def test_low_ports_and_ping_for_everybody(shared):
    shared.commands.run("python3 -c \"import socket; socket.create_server(('127.0.0.1', 80))\"")
    shared.commands.run("ping -c 1 -W 2 127.0.0.1")


def test_without_internet(create):
    sandbox = create(allow_internet_access=False)
    assert sandbox.get_info().allow_internet_access is False
    assert sandbox.commands.run("ip -4 route; ip -6 route | grep -v '^::1'; true").stdout == ""
    assert len(sandbox.commands.run("ip -o link").stdout.splitlines()) == 1
    with pytest.raises(CommandExitException):
        sandbox.commands.run("getent hosts example.org", timeout=30)
    # inside itself it is whole
    sandbox.commands.run("ping -c 1 -W 2 127.0.0.1")
