# SPDX-License-Identifier: Apache-2.0
"""Commands through the SDK (protocol.md 5.2 to 5.4)."""

import hashlib
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from e2b import (
    AuthenticationException,
    CommandExitException,
    InvalidArgumentException,
    NotFoundException,
    SandboxException,
    TimeoutException,
)

from harness import eventually


@pytest.fixture
def run(shared):
    return shared.commands.run


class Background:
    """Reads a command's output in a thread, so that tests can wait for it."""

    def __init__(self, handle):
        self.handle = handle
        self.output = ""
        self.error = self.result = None
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def add(self, text):
        with self.changed:
            self.output += text
            self.changed.notify_all()

    def read(self):
        try:
            self.result = self.handle.wait(
                on_stdout=self.add,
                on_stderr=self.add,
                on_pty=lambda b: self.add(b.decode(errors="replace")),
            )
        except Exception as error:
            self.error = error
        with self.changed:
            self.changed.notify_all()

    def expect(self, text, timeout=15):
        with self.changed:
            seen = self.changed.wait_for(
                lambda: text in self.output or not self.thread.is_alive(), timeout
            )
        assert seen and text in self.output, f"{text!r} not in {self.output!r} ({self.error!r})"

    def end(self, timeout=15):
        self.thread.join(timeout)
        assert not self.thread.is_alive(), f"no end; so far: {self.output!r}"
        return self.result if self.error is None else self.error


def alive(sandbox, pid):
    return (
        sandbox.commands.run(f"kill -0 {pid} 2>/dev/null && echo y || echo n", user="root").stdout
        == "y\n"
    )


# ---- results ------------------------------------------------------------------------------------


def test_output_and_exit_code(run):
    result = run("echo out; echo err >&2")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 0)
    assert result.error is None


@pytest.mark.parametrize("code", [1, 2, 42, 126, 255])
def test_failure_raises_with_its_code(run, code):
    with pytest.raises(CommandExitException) as failure:
        run(f"echo before; echo why >&2; exit {code}")
    assert failure.value.exit_code == code
    assert (failure.value.stdout, failure.value.stderr) == ("before\n", "why\n")
    assert failure.value.error == f"exit status {code}"


def test_killed_by_signal(run):
    with pytest.raises(CommandExitException) as failure:
        run("kill -9 $$")
    assert failure.value.exit_code == -1 and failure.value.error == "signal: killed"
    with pytest.raises(CommandExitException) as failure:
        run("kill -TERM $$")
    assert failure.value.error == "signal: terminated"


def test_missing_program(run):
    with pytest.raises(CommandExitException) as failure:
        run("no-such-program --flag")
    assert failure.value.exit_code == 127 and "no-such-program" in failure.value.stderr


def test_missing_program_without_a_shell(server, shared):
    _, messages, end = server.rpc_stream(
        shared.sandbox_id, "/process.Process/Start", {"process": {"cmd": "/no/such/program"}}
    )
    events = [m["event"] for m in messages]
    assert events[0]["start"]["pid"] > 0
    assert events[-1]["end"]["exitCode"] == 127 and end == {}


def test_environment(run):
    result = run('echo "$A|$B|$HOME|$USER|$LOGNAME|$PWD"', envs={"A": "1", "B": 'zwei "3" $HOME ü'})
    assert result.stdout == '1|zwei "3" $HOME ü|/home/user|user|user|/home/user\n'
    assert run("echo $PATH").stdout.strip()
    assert run("tty; true").stdout == "not a tty\n"


def test_working_directory(run, shared):
    shared.files.make_dir("/home/user/some where")
    assert run("pwd", cwd="/tmp").stdout == "/tmp\n"
    assert run("pwd", cwd="/home/user/some where").stdout == "/home/user/some where\n"
    assert run("pwd", cwd="some where").stdout == "/home/user/some where\n"
    assert run("pwd", cwd="~").stdout == "/home/user\n"
    with pytest.raises(InvalidArgumentException, match="cwd '/no/such' does not exist"):
        run("pwd", cwd="/no/such")


def test_users(run):
    assert run("id -un; id -gn; umask").stdout == "user\nuser\n0022\n"
    assert run("id -un; echo $HOME", user="root").stdout == "root\n/root\n"
    assert run("sudo -n id -un").stdout == "root\n"
    with pytest.raises(AuthenticationException, match="nobody-here"):
        run("true", user="nobody-here")


def test_tools_of_the_template(run):
    run(
        "for t in bash python3 python pip git curl node npm tput realpath sudo ps ip; do "
        "command -v $t >/dev/null || { echo missing $t; exit 1; }; done"
    )


# ---- much and odd output ------------------------------------------------------------------------


def test_16_mib_exactly(run):
    size = 16 << 20
    program = (
        "import sys; b = b''.join(b'%07d\\n' % n for n in range(1 << 17)); "
        "[sys.stdout.buffer.write(b) for _ in range(16)]"
    )
    block = b"".join(b"%07d\n" % n for n in range(1 << 17))
    result = run(f'python3 -c "{program}"')
    assert len(result.stdout) == size
    assert hashlib.sha256(result.stdout.encode()).digest() == hashlib.sha256(block * 16).digest()


def test_both_streams_at_once(run):
    result = run("for i in $(seq 2000); do echo out$i; echo err$i >&2; done")
    assert result.stdout == "".join(f"out{i}\n" for i in range(1, 2001))
    assert result.stderr == "".join(f"err{i}\n" for i in range(1, 2001))


@pytest.mark.parametrize("before", [0, 1, 4095, 8191, 32766, 32767, 65535])
def test_characters_split_between_reads(run, before):
    program = f"import sys; sys.stdout.buffer.write(b'a' * {before} + '€🚀'.encode() * 3000)"
    assert run(f'python3 -c "{program}"').stdout == "a" * before + "€🚀" * 3000


def test_bytes_that_are_no_text(run):
    out = run(r"head -c 8191 /dev/zero | tr '\0' a; printf '\342'; printf '\n\377\376ok'").stdout
    assert out == "a" * 8191 + "�\n��ok"


def test_no_output_is_late(shared):
    """A line arrives while the command still runs: the command waits for our answer to it."""
    seen = queue.Queue()
    handle = shared.commands.run(
        "for i in 1 2 3; do echo line $i; read x; done", background=True, stdin=True
    )
    reader = threading.Thread(target=lambda: handle.wait(on_stdout=seen.put))
    reader.start()
    for i in (1, 2, 3):
        assert seen.get(timeout=10) == f"line {i}\n"
        handle.send_stdin("go\n")
    reader.join(10)
    assert not reader.is_alive()


def test_long_command_and_many_variables(run):
    envs = {f"V{n}": "x" * 1000 for n in range(100)}
    assert run("echo ${#V0} ${#V99}; : " + "y" * 100000, envs=envs).stdout == "1000 1000\n"


# ---- background, list, connect, kill ------------------------------------------------------------


def test_background(shared):
    handle = shared.commands.run("echo started; exec sleep 300", background=True)
    command = Background(handle)
    command.expect("started\n")
    listed = {p.pid: p for p in shared.commands.list()}
    assert listed[handle.pid].cmd == "/bin/bash"
    assert listed[handle.pid].args == ["-l", "-c", "echo started; exec sleep 300"]
    assert alive(shared, handle.pid), "the pid is the one seen inside"
    assert handle.kill() is True
    failure = command.end()
    assert isinstance(failure, CommandExitException) and failure.error == "signal: killed"
    assert handle.pid not in {p.pid for p in shared.commands.list()}
    assert not alive(shared, handle.pid)


def test_list_shows_settings(shared):
    handle = shared.commands.run("sleep 300", background=True, envs={"K": "v"}, cwd="/tmp")
    info = next(p for p in shared.commands.list() if p.pid == handle.pid)
    assert info.envs.get("K") == "v" and info.cwd == "/tmp"
    shared.commands.kill(handle.pid)


def test_kill_of_unknown_pid(shared):
    assert shared.commands.kill(2000000) is False
    with pytest.raises(NotFoundException, match="2000000"):
        shared.commands.connect(2000000)
    with pytest.raises(NotFoundException, match="2000000"):
        shared.commands.send_stdin(2000000, "x")


def test_two_readers_get_everything(shared):
    first = shared.commands.run("read x; echo $x; read y; echo $y", background=True, stdin=True)
    second = shared.commands.connect(first.pid)
    readers = [Background(first), Background(second)]
    first.send_stdin("one\n")
    for reader in readers:
        reader.expect("one\n")
    second.send_stdin("two\n")
    for reader in readers:
        result = reader.end()
        assert result.stdout == "one\ntwo\n" and result.exit_code == 0


def test_disconnect_leaves_it_running_and_loses_nothing(shared):
    handle = shared.commands.run("read x; echo late $x", background=True, stdin=True)
    handle.disconnect()
    shared.commands.list()  # another connection: gives the end of the first time to be noticed
    shared.commands.send_stdin(handle.pid, "news\n")
    eventually(lambda: not alive(shared, handle.pid), what="end of the command")
    again = shared.commands.connect(handle.pid)
    assert again.wait().stdout == "late news\n"


def test_result_of_a_finished_command(shared):
    handle = shared.commands.run("read x; exit 3", background=True, stdin=True)
    handle.disconnect()
    shared.commands.send_stdin(handle.pid, "\n")
    eventually(lambda: not alive(shared, handle.pid), what="end of the command")
    with pytest.raises(CommandExitException) as failure:
        shared.commands.connect(handle.pid).wait()
    assert failure.value.exit_code == 3


def test_child_in_the_background_holds_the_output_open(shared):
    started = time.monotonic()
    result = shared.commands.run("nohup sleep 60 >/dev/null 2>&1 & echo done")
    assert result.stdout == "done\n" and time.monotonic() - started < 10


# ---- standard input -----------------------------------------------------------------------------


def test_stdin(shared):
    handle = shared.commands.run("cat", background=True, stdin=True)
    command = Background(handle)
    handle.send_stdin("first ü\n")
    command.expect("first ü\n")
    handle.send_stdin(b"\xf0\x9f\x9a\x80\n")
    command.expect("🚀\n")
    handle.close_stdin()
    result = command.end()
    assert result.stdout == "first ü\n🚀\n" and result.exit_code == 0


def test_stdin_is_empty_by_default(run):
    assert run("cat; echo end").stdout == "end\n"


def test_large_stdin(shared):
    data = "".join(f"{n}\n" for n in range(200000))
    handle = shared.commands.run("sha256sum", background=True, stdin=True)
    for at in range(0, len(data), 300000):
        handle.send_stdin(data[at : at + 300000])
    handle.close_stdin()
    assert handle.wait().stdout.split()[0] == hashlib.sha256(data.encode()).hexdigest()


def test_stream_input(shared):
    handle = shared.commands.run("cat", background=True, stdin=True)
    command = Background(handle)

    def parts():
        for n in range(3):
            yield f"part {n}\n"
            command.expect(f"part {n}\n")  # it arrived while the request is still open

    shared.commands.stream_input(handle.pid, parts())
    handle.close_stdin()
    assert command.end().stdout == "part 0\npart 1\npart 2\n"


def test_stdin_that_is_not_open(shared):
    handle = shared.commands.run("sleep 300", background=True)
    with pytest.raises(SandboxException):
        shared.commands.send_stdin(handle.pid, "x")
    handle.kill()


# ---- limits of time -----------------------------------------------------------------------------


def test_timeout_kills_the_command(shared):
    started = time.monotonic()
    handle = shared.commands.run("echo up; exec sleep 300", background=True, timeout=1)
    with pytest.raises(TimeoutException):
        handle.wait()
    assert 0.5 < time.monotonic() - started < 5
    eventually(lambda: not alive(shared, handle.pid), what="death of the command")


def test_timeout_of_connect_leaves_the_command(shared):
    handle = shared.commands.run("sleep 300", background=True)
    with pytest.raises(TimeoutException):
        shared.commands.connect(handle.pid, timeout=0.5).wait()
    assert alive(shared, handle.pid)
    handle.kill()


def test_no_timeout(run):
    assert run("echo fine", timeout=0).stdout == "fine\n"


# ---- many ---------------------------------------------------------------------------------------


def test_30_at_once(shared):
    gate = shared.commands.run("rm -f /tmp/gate; mkfifo /tmp/gate")
    assert gate.exit_code == 0
    with ThreadPoolExecutor(30) as pool:
        jobs = [
            pool.submit(
                shared.commands.run,
                f"echo a{n}; while [ ! -f /tmp/open ]; do read -t 0.05 <> /tmp/gate; done; "
                f"echo b{n}",
            )
            for n in range(30)
        ]
        eventually(
            lambda: len([p for p in shared.commands.list() if "/tmp/open" in p.args[-1]]) == 30,
            20,
            "30 running commands",
        )
        shared.files.write("/tmp/open", "")
        for n, job in enumerate(jobs):
            assert job.result(30).stdout == f"a{n}\nb{n}\n"


def test_slow_reader_holds_nobody_up(shared):
    """A reader that never reads stops neither the command for others nor other commands."""
    lazy = shared.commands.run(
        "read x; head -c 3000000 /dev/zero | tr '\\0' z; echo; echo end",
        background=True,
        stdin=True,
    )
    eager = Background(shared.commands.connect(lazy.pid))
    lazy.send_stdin("\n")
    eager.expect("end\n", 20)
    assert shared.commands.run("echo free").stdout == "free\n"
    assert eager.end().exit_code == 0
    assert len(lazy.wait().stdout) == 3000005


def test_orphans_are_reaped(shared):
    shared.commands.run("for i in $(seq 50); do (sleep 0.01 &) ; done")
    eventually(
        lambda: shared.commands.run("ps -eo stat= | grep -c ^Z; true").stdout == "0\n",
        10,
        "no zombies",
    )
