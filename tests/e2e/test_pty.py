# SPDX-License-Identifier: Apache-2.0
"""Terminals (protocol.md 5.2, 5.4)."""

import pytest
from e2b import CommandExitException, PtySize, SandboxException, TimeoutException

from harness import eventually
from test_commands import Background


@pytest.fixture
def terminal(shared):
    handle = shared.pty.create(PtySize(rows=24, cols=80), timeout=60)
    yield handle
    shared.pty.kill(handle.pid)


def test_a_shell_talks(shared, terminal):
    screen = Background(terminal)
    shared.pty.send_stdin(terminal.pid, b"echo $((20 + 22)) $TERM; tty; id -un\n")
    screen.expect("42 xterm-256color")
    screen.expect("/dev/pts/")
    screen.expect("user\r\n")


def test_size(shared, terminal):
    screen = Background(terminal)
    shared.pty.send_stdin(terminal.pid, b"stty size\n")
    screen.expect("24 80\r\n")
    shared.pty.resize(terminal.pid, PtySize(rows=50, cols=132))
    shared.pty.send_stdin(terminal.pid, b"stty size\n")
    screen.expect("50 132\r\n")


def test_resize_tells_the_program(shared, terminal):
    screen = Background(terminal)
    shared.pty.send_stdin(
        terminal.pid, b"trap 'echo winch $(stty size)' WINCH; echo re\"\"ady; read x\n"
    )
    screen.expect("ready\r\n")
    shared.pty.resize(terminal.pid, PtySize(rows=33, cols=99))
    shared.pty.send_stdin(terminal.pid, b"\n")
    screen.expect("winch 33 99")


def test_control_keys(shared, terminal):
    screen = Background(terminal)
    shared.pty.send_stdin(terminal.pid, b"sh -c 'echo go\"\"ing; exec cat'\n")
    screen.expect("going\r\n")
    before = screen.output.count("$ ")
    shared.pty.send_stdin(terminal.pid, b"\x03")
    eventually(lambda: screen.output.count("$ ") > before, what="the next prompt")
    shared.pty.send_stdin(terminal.pid, b"echo status $?\n")
    screen.expect("status 130\r\n")


def test_exit_code(shared, terminal):
    screen = Background(terminal)
    shared.pty.send_stdin(terminal.pid, b"exit 7\n")
    failure = screen.end()
    assert isinstance(failure, CommandExitException) and failure.exit_code == 7


def test_kill(shared, terminal):
    screen = Background(terminal)
    screen.expect("$")
    assert shared.pty.kill(terminal.pid) is True
    assert isinstance(screen.end(), CommandExitException)
    assert shared.pty.kill(terminal.pid) is False
    assert shared.pty.kill(2000000) is False


def test_user_directory_and_environment(shared):
    handle = shared.pty.create(PtySize(24, 80), user="root", cwd="/tmp", envs={"MY": "own"})
    screen = Background(handle)
    shared.pty.send_stdin(handle.pid, b"echo $(id -un):$PWD:$MY:$LANG\n")
    screen.expect("root:/tmp:own:C.UTF-8")
    shared.pty.kill(handle.pid)


def test_a_second_viewer(shared, terminal):
    first = Background(terminal)
    second = Background(shared.pty.connect(terminal.pid))
    shared.pty.send_stdin(terminal.pid, b'echo to-""both\n')
    first.expect("to-both\r\n")
    second.expect("to-both\r\n")


def test_listed_and_not_a_pipe(shared, terminal):
    assert terminal.pid in {p.pid for p in shared.commands.list()}
    with pytest.raises(SandboxException):
        shared.commands.send_stdin(terminal.pid, "x")


def test_resizing_what_has_no_terminal(shared):
    handle = shared.commands.run("cat", background=True, stdin=True)
    with pytest.raises(SandboxException):
        shared.pty.resize(handle.pid, PtySize(rows=1, cols=1))
    assert handle.kill() is True


def test_timeout(shared):
    handle = shared.pty.create(PtySize(24, 80), timeout=0.5)
    with pytest.raises(TimeoutException):
        handle.wait()


def test_large_paste(shared, terminal):
    screen = Background(terminal)
    shared.pty.send_stdin(
        terminal.pid, b'stty -echo -icanon; echo se""t; head -c 200000 | sha256sum\n'
    )
    screen.expect("set\r\n")
    data = b"0123456789abcde\n" * 12500
    import hashlib

    shared.pty.send_stdin(terminal.pid, data)
    screen.expect(hashlib.sha256(data).hexdigest(), 20)
