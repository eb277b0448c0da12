# SPDX-License-Identifier: Apache-2.0
"""A newer agent takes over while a sandbox runs: the same as a death, with another program after it."""
import os
import shutil
import time

import pytest

from conftest import CONFIG
from mended import Mended
from test_mend import MIB, Following, counted, COUNTED


@pytest.fixture
def mended(tmp_path):
    agent = Mended(str(tmp_path), CONFIG)
    yield agent
    agent.stop()


@pytest.fixture
def newer(tmp_path):
    """Another file with the same program."""
    return shutil.copy(os.environ["AGENT_DRIVER"], tmp_path / "newer")


def test_everything_goes_on(mended, newer):
    waiting = mended.sh("echo unread; read a; echo $a; exit 5", stdin=True, tag="mine")
    terminal = mended.start("/bin/sh", pty={"size": {"cols": 80, "rows": 24}}, envs={"PS1": "$ "})
    terminal.until(b"$ ", "pty")
    ended = mended.sh("echo tail; exit 9")
    ended.finish()
    before = mended.unary("List", {})
    mended.replace(newer)
    assert mended.unary("List", {}) == before
    again = mended.stream("Connect", {"process": {"tag": "mine"}, "fromOffset": 0}).started()
    mended.send(waiting.pid, b"news\n")
    out, end = again.finish()
    assert (out["stdout"], end["exitCode"]) == (b"unread\nnews\n", 5)
    screen = mended.attach(terminal.pid)
    mended.send(terminal.pid, b"stty size; exit 4\n", "pty")
    screen.until(b"24 80\r\n", "pty")
    assert screen.finish()[1]["exitCode"] == 4
    late = mended.stream("Connect", {"process": {"pid": ended.pid}, "fromOffset": 0}).started()
    out, end = late.finish()
    assert (out["stdout"], end["exitCode"]) == (b"tail\n", 9)


def test_it_stays_the_agent_when_it_dies(mended, newer):
    stream = mended.sh("read a; exit 6", stdin=True)
    mended.replace(newer)
    mended.unary("List", {})
    mended.mend()
    mended.unary("List", {})
    assert mended.runs(newer)
    mended.send(stream.pid, b"\n")
    assert mended.attach(stream.pid).finish()[1]["exitCode"] == 6


def test_its_processes_get_nothing_of_it(mended, newer):
    mended.replace(newer)
    out, _ = mended.sh("ls -l /proc/self/fd | wc -l; grep SigBlk /proc/self/status").finish()
    count, blocked = out["stdout"].split(b"\n")[:2]
    assert int(count) <= 5 and blocked.split()[1] == b"0" * 16


@pytest.mark.parametrize("bad", ["not a program", "#!/bin/false\n", "ends"])
def test_what_is_no_agent_does_not_stay(mended, tmp_path, newer, bad):
    program = tmp_path / "bad"
    program.write_text(bad)
    program.chmod(0o755)
    if bad == "ends":
        program = "/bin/false"
    stream = mended.sh("read a; exit 6", stdin=True)
    old = mended.agent_pid()
    with open(program, "rb") as f:
        mended.hand_over(f.fileno())
    mended.wait_agent(other_than=old)
    assert mended.pids() == [stream.pid]  # from the agent that was there before
    mended.send(stream.pid, b"\n")
    assert mended.attach(stream.pid).finish()[1]["exitCode"] == 6
    mended.replace(newer)


def test_a_pipe_is_no_program(mended):
    r, w = os.pipe()
    old = mended.agent_pid()
    mended.hand_over(r)
    mended.wait_agent(other_than=old)
    os.close(r)
    os.close(w)
    assert mended.unary("List", {}) == {}


def test_again_and_again_under_load(mended, newer, tmp_path):
    total = 16 * MIB
    (tmp_path / "counted.py").write_text(COUNTED)
    stream = mended.start("/usr/bin/python3", str(tmp_path / "counted.py"), str(total), "1",
                          keepOutput=True)
    client = Following(mended, stream.pid)
    client.start()
    programs = [newer, os.environ["AGENT_DRIVER"]]
    for i in range(6):
        while len(client.out) < total * i // 8 and client.is_alive():
            time.sleep(0.001)  # for the reader, who shares this interpreter
        mended.replace(programs[i % 2])
    client.join(60)
    assert client.error is None and not client.is_alive()
    assert bytes(client.out) == counted(total) and client.end["exitCode"] == 11
