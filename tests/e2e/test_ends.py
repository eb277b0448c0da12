# SPDX-License-Identifier: Apache-2.0
"""How a process has ended is told truthfully, with each of the SDK's ways to ask."""

import pytest
from e2b import (
    AsyncSandbox,
    CommandExitException,
    NotFoundException,
    Sandbox,
    SandboxException,
    TimeoutException,
)

from conftest import finish
from harness import Server, eventually

BOMB = "exec python3 -c 'bytearray(700 << 20)'"
LIMIT = "killed by the sandbox's limit of 512 MiB"  # --memory-mb of the tests' server


def failure_of(call, *args, **more):
    with pytest.raises(CommandExitException) as failure:
        call(*args, **more)
    return failure.value


@pytest.mark.parametrize(
    "script, code, error",
    [
        ("exit 7", 7, "exit status 7"),
        ("kill -9 $$", -1, "signal: killed"),
        ("kill -TERM $$", -1, "signal: terminated"),
        ("ulimit -c 0; kill -SEGV $$", -1, "signal: segmentation fault"),
        ("no-such-program", 127, "exit status 127"),
    ],
)
def test_codes_and_signals(shared, script, code, error):
    failure = failure_of(shared.commands.run, script)
    assert (failure.exit_code, failure.error) == (code, error)


def test_the_kernel_kills_for_memory(sandbox):
    failure = failure_of(sandbox.commands.run, BOMB)
    assert failure.exit_code == -1 and failure.error == "out of memory: " + LIMIT
    assert sandbox.commands.run("echo lives").stdout == "lives\n"


def test_the_kernel_kills_a_child_for_memory(sandbox):
    failure = failure_of(sandbox.commands.run, f"({BOMB}); exit $?")
    assert failure.exit_code == 137
    assert failure.error == f"exit status 137 (out of memory: a process was {LIMIT})"


def test_a_kill_is_not_taken_for_lack_of_memory(sandbox):
    failure_of(sandbox.commands.run, BOMB)
    handle = sandbox.commands.run("sleep 1000", background=True)
    assert sandbox.commands.kill(handle.pid) is True
    assert failure_of(handle.wait).error == "signal: killed"


def test_the_time_limit(shared):
    with pytest.raises(TimeoutException):
        shared.commands.run("sleep 1000", timeout=0.3)


def test_the_sandbox_is_gone(create):
    sandbox = create(timeout=60)
    handle = sandbox.commands.run("sleep 1000", background=True)
    sandbox.kill()
    with pytest.raises((SandboxException, TimeoutException)) as gone:
        handle.wait()
    assert not isinstance(gone.value, CommandExitException)


def test_the_end_is_remembered_for_as_long_as_the_operator_says():
    server = Server(extra=["--keep-ended", "1", "--stop-timeout", "0", "--pool", "none"])
    server.start()
    try:
        options = {"api_key": server.key, "api_url": server.url, "sandbox_url": server.url}
        sandbox = Sandbox.create(timeout=60, **options)
        handle = sandbox.commands.run("exit 4", background=True)
        assert failure_of(handle.wait).exit_code == 4

        def forgotten():
            try:
                sandbox.commands.connect(handle.pid).wait()
            except NotFoundException:
                return True
            except CommandExitException as failure:
                assert failure.exit_code == 4
            return False

        eventually(forgotten, what="the end of the memory")
        sandbox.kill()
    finally:
        finish(server)


# ---- the asynchronous SDK -----------------------------------------------------------------------


async def test_asynchronously(server):
    sandbox = await AsyncSandbox.create(timeout=120)
    try:
        for script, code, error in (
            ("exit 7", 7, "exit status 7"),
            ("kill -9 $$", -1, "signal: killed"),
            (BOMB, -1, "out of memory: " + LIMIT),
        ):
            with pytest.raises(CommandExitException) as failure:
                await sandbox.commands.run(script)
            assert (failure.value.exit_code, failure.value.error) == (code, error)
        with pytest.raises(TimeoutException):
            await sandbox.commands.run("sleep 1000", timeout=0.3)
        handle = await sandbox.commands.run("sleep 1000", background=True)
    finally:
        await sandbox.kill()
    with pytest.raises((SandboxException, TimeoutException)):
        await handle.wait()
