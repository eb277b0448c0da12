# SPDX-License-Identifier: Apache-2.0
"""Pause and resume (protocol.md 2.2, 2.3)."""

import uuid

import pytest
from e2b import CommandExitException, Sandbox, SandboxQuery, SandboxState, TimeoutException

from harness import eventually


def state(sandbox):
    return Sandbox.get_info(sandbox.sandbox_id).state


def test_pause_and_connect(create):
    sandbox = create(metadata={"run": uuid.uuid4().hex})
    sandbox.files.write("kept.txt", "kept")
    handle = sandbox.commands.run("read x; echo woke $x; read y", background=True, stdin=True)
    boot = sandbox.files.read("/proc/sys/kernel/random/boot_id")
    assert sandbox.pause() is True
    assert sandbox.pause() is False, "already paused"
    assert state(sandbox) == SandboxState.PAUSED
    assert not sandbox.is_running()
    with pytest.raises(TimeoutException, match="was not found"):
        sandbox.files.read("kept.txt")
    again = Sandbox.connect(sandbox.sandbox_id, timeout=60)
    assert state(again) == SandboxState.RUNNING
    assert again.files.read("kept.txt") == "kept"
    assert again.files.read("/proc/sys/kernel/random/boot_id") == boot
    assert handle.pid in {p.pid for p in again.commands.list()}
    reader = again.commands.connect(handle.pid)
    again.commands.send_stdin(handle.pid, "up\n")
    assert next(iter(reader))[0] == "woke up\n"
    assert again.commands.kill(handle.pid) is True


def test_pause_stops_everything(create):
    sandbox = create()
    handle = sandbox.commands.run(
        "echo x > ticks; echo go; while :; do echo x >> ticks; done", background=True
    )
    assert next(iter(handle))[0] == "go\n"
    sandbox.pause()
    with pytest.raises(TimeoutException):
        handle.wait()
    Sandbox.connect(sandbox.sandbox_id)
    before = sandbox.files.get_info("ticks").size
    eventually(lambda: sandbox.files.get_info("ticks").size > before, what="more ticks")


def test_paused_sandboxes_in_lists(create):
    run = uuid.uuid4().hex
    one, two = (create(metadata={"run": run}) for _ in range(2))
    one.pause()

    def listed(*states):
        query = SandboxQuery(metadata={"run": run}, state=list(states) or None)
        return [s.sandbox_id for s in Sandbox.list(query).next_items()]

    assert listed(SandboxState.PAUSED) == [one.sandbox_id]
    assert listed(SandboxState.RUNNING) == [two.sandbox_id]
    assert listed() == [two.sandbox_id, one.sandbox_id]


def test_timeouts_of_a_paused_sandbox(server, create):
    sandbox = create()
    sandbox.pause()
    reply = server.api("POST", f"/sandboxes/{sandbox.sandbox_id}/timeout", {"timeout": 60})
    assert reply.status == 409 and reply.json()["code"] == 409, reply.text


def test_kill_of_a_paused_sandbox(create):
    sandbox = create()
    sandbox.pause()
    assert sandbox.kill() is True
    assert sandbox.kill() is False


def test_pause_at_the_end_of_life(create):
    sandbox = create(timeout=60, lifecycle={"on_timeout": "pause"})
    sandbox.files.write("x", "survives")
    lifecycle = sandbox.get_info().lifecycle
    assert lifecycle == {"on_timeout": "pause", "auto_resume": False}
    command = sandbox.commands.run("sleep 100", background=True)
    sandbox.set_timeout(0)
    with pytest.raises(TimeoutException):
        command.wait()
    eventually(lambda: state(sandbox) == SandboxState.PAUSED, what="the pause")
    assert Sandbox.connect(sandbox.sandbox_id).files.read("x") == "survives"


def test_traffic_wakes_it_when_asked_to(create):
    sandbox = create(lifecycle={"on_timeout": "pause", "auto_resume": True})
    sandbox.files.write("x", "awake")
    sandbox.pause()
    assert sandbox.files.read("x") == "awake"
    assert state(sandbox) == SandboxState.RUNNING


def test_first_generation_resume(server, create):
    sandbox = create()
    sandbox.pause()
    reply = server.api("POST", f"/sandboxes/{sandbox.sandbox_id}/resume", {"timeout": 30})
    assert reply.status == 201, reply.text
    assert sandbox.commands.run("echo back").stdout == "back\n"
    sandbox.pause()
    reply = server.api("POST", f"/sandboxes/{sandbox.sandbox_id}/connect", {"timeout": 30})
    assert reply.status == 201, "201 says that it was resumed"


def test_pause_of_unknown_sandbox(server):
    assert server.api("POST", "/sandboxes/iunknown/pause", {}).status == 404


def test_clock_and_commands_after_a_pause(create):
    sandbox = create()
    for _ in range(5):
        assert sandbox.pause() is True
        sandbox.connect()
        with pytest.raises(CommandExitException):
            sandbox.commands.run("exit 1")
