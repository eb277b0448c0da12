# SPDX-License-Identifier: Apache-2.0
"""Nobody's death loses anything: server, launcher and agent are killed under running sandboxes."""

import os
import signal

import pytest
from e2b import CommandExitException, Sandbox, SandboxException

from harness import eventually


def works(check):
    """check() until it raises no more: a process is just being started again."""

    def attempt():
        try:
            return check() or True
        except (AssertionError, KeyboardInterrupt):
            raise
        except Exception:
            return False

    return eventually(attempt, 15, "recovery")


@pytest.mark.parametrize("victim", ["server", "launcher"])
def test_a_killed_process_is_replaced(own_server, victim):
    server = own_server
    before = Sandbox.create(timeout=120, metadata={"made": "before"})
    before.files.write("kept", "kept")
    worker = before.commands.run(
        "read x; echo got $x; read y", background=True, stdin=True, timeout=0
    )
    pid = server.children()[victim]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: server.children().get(victim) not in (None, pid), 15, f"another {victim}")
    works(lambda: before.commands.run("echo up").stdout == "up\n")
    assert before.files.read("kept") == "kept"
    assert worker.pid in {p.pid for p in before.commands.list()}
    reader = before.commands.connect(worker.pid)
    before.commands.send_stdin(worker.pid, "news\n")
    assert next(iter(reader))[0] == "got news\n"
    info = before.get_info()
    assert info.metadata == {"made": "before"} and info.name == "base"
    after = Sandbox.create(timeout=60)
    assert after.commands.run("echo new").stdout == "new\n"
    assert after.kill() is True
    assert before.kill() is True
    with pytest.raises(Exception):
        before.commands.run("true")


def test_both_killed_at_once(own_server):
    server = own_server
    sandbox = Sandbox.create(timeout=120)
    sandbox.files.write("kept", "kept")
    pids = server.children()
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    eventually(
        lambda: (
            server.children().keys() == pids.keys()
            and not set(server.children().values()) & set(pids.values())
        ),
        15,
        "new processes",
    )
    works(lambda: sandbox.files.read("kept") == "kept")
    fresh = Sandbox.create(timeout=60)
    assert fresh.commands.run("echo new").stdout == "new\n"


def test_end_of_life_is_kept_through_a_crash(own_server):
    server = own_server
    sandbox = Sandbox.create(timeout=120)
    sandbox.set_timeout(3)
    pid = server.children()["server"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: server.children().get("server") not in (None, pid), 15, "another server")
    eventually(lambda: not sandbox.is_running(), 15, "the end of life")


AGENT = """
import os
for pid in (p for p in os.listdir("/proc") if p.isdigit()):
    if open(f"/proc/{pid}/comm").read() == "carrel-agent\\n":
        print(pid)
"""


def kill_agent(sandbox):
    sandbox.files.write("/tmp/agent.py", AGENT)
    agent = int(sandbox.commands.run("python3 /tmp/agent.py", user="root").stdout)
    with pytest.raises(Exception):  # which one, for a sandbox that lives on, is the SDK's affair
        sandbox.commands.run(f"kill -9 {agent}; sleep 60", user="root", timeout=20)
    works(lambda: sandbox.commands.run("echo up").stdout == "up\n")


def test_the_agent_is_mended(sandbox):
    sandbox.files.write("kept", "kept")
    sandbox.commands.run("(setsid sleep 4321 >/dev/null 2>&1 &)")
    kill_agent(sandbox)
    assert sandbox.files.read("kept") == "kept"
    assert sandbox.commands.run("pgrep -cxf 'sleep 4321'").stdout == "1\n", "what ran, runs on"


def test_the_next_agent_knows_the_processes(sandbox):
    worker = sandbox.commands.run(
        "read x; echo got $x; read y; exit 5", background=True, stdin=True, timeout=0
    )
    kill_agent(sandbox)
    assert worker.pid in {p.pid for p in sandbox.commands.list()}
    reader = sandbox.commands.connect(worker.pid)
    sandbox.commands.send_stdin(worker.pid, "news\n")
    assert next(iter(reader))[0] == "got news\n"
    sandbox.commands.send_stdin(worker.pid, "end\n")
    with pytest.raises(CommandExitException) as failure:
        reader.wait()
    assert failure.value.exit_code == 5


def test_init_cannot_be_killed_from_inside(sandbox):
    sandbox.commands.run("kill -9 1; kill -9 -1; true", user="user", timeout=10, background=True)
    works(lambda: sandbox.commands.run("echo up").stdout == "up\n")
