# SPDX-License-Identifier: Apache-2.0
"""Commands, handles and terminals."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import threading

import pytest
from carrel import (
    AuthenticationException,
    CommandExitException,
    InvalidArgumentException,
    NotFoundException,
    PtySize,
    SandboxException,
    TimeoutException,
)
from conftest import environment
from harness import eventually


def test_results(shared):
    run = shared.commands.run
    result = run("echo out; echo err >&2")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 0)
    assert result.error is None and result.missed == 0
    assert run("echo $MY_VAR", envs={"MY_VAR": "hello"}).stdout == "hello\n"
    assert run("pwd", cwd="/tmp").stdout == "/tmp\n"
    assert run("id -un", user="root").stdout == "root\n"
    with pytest.raises(CommandExitException) as failure:
        run("echo said; echo wrong >&2; exit 3")
    assert (failure.value.exit_code, failure.value.stdout) == (3, "said\n")
    assert "wrong" in str(failure.value)
    with pytest.raises(InvalidArgumentException, match="does not exist"):
        run("true", cwd="/no/such")
    with pytest.raises(AuthenticationException, match="nobody-here"):
        run("true", user="nobody-here")


def test_output_as_it_comes(shared, folder):
    """Each piece arrives before the next is made: the command waits for what we write then."""
    seen, errors = [], []

    def on_stdout(text):
        seen.append(text)
        shared.files.write(f"{folder}/go-{len(seen)}", "")

    result = shared.commands.run(
        "for i in 1 2 3; do echo step $i; echo warn $i >&2;"
        f" until [ -e {folder}/go-$i ]; do sleep 0.01; done; done",
        on_stdout=on_stdout,
        on_stderr=errors.append,
    )
    assert seen == ["step 1\n", "step 2\n", "step 3\n"]
    assert result.stdout == "".join(seen) and "".join(errors) == "warn 1\nwarn 2\nwarn 3\n"


def test_text_that_is_cut_anywhere(shared):
    """Characters of several bytes come whole, whatever the pieces; what is no UTF-8 is marked."""
    script = r"printf '\xc3'; sleep 0.1; printf '\xbc\xff\xf0\x9f'; sleep 0.1; printf '\x98\x80'"
    assert shared.commands.run(script).stdout == "ü\N{REPLACEMENT CHARACTER}😀"


def test_much_output(shared):
    size = 30_000_000
    result = shared.commands.run(f"yes 0123456789abcde | head -c {size}")
    assert len(result.stdout) == size
    expected = ("0123456789abcde\n" * (size // 16 + 1))[:size]
    assert hashlib.md5(result.stdout.encode()).digest() == hashlib.md5(expected.encode()).digest()
    pieces = []
    result = shared.commands.run("seq 1000", on_stdout=pieces.append, retain_output=False)
    assert result.stdout == "" and "".join(pieces).endswith("\n1000\n")


def test_a_handle_reads_writes_and_ends(shared):
    with shared.commands.run("cat; echo end", background=True, stdin=True) as cat:
        cat.write("first\n")
        assert cat.read().stdout == "first\n"
        cat.send_stdin(b"second\n")
        assert cat.read().stdout == "second\n"
        assert cat.pid in [process.pid for process in shared.commands.list()]
        cat.close_stdin()
        assert [piece.stdout for piece in cat] == ["end\n"]
        assert cat.wait().stdout == "first\nsecond\nend\n" and cat.exit_code == 0
    big = "x" * 3_000_000 + "\n"
    counter = shared.commands.run("wc -c", background=True, stdin=True)
    counter.write(big)
    counter.close_stdin()
    assert counter.wait().stdout == f"{len(big)}\n"


def test_signals_and_kill(shared):
    run, started = shared.commands.run, []

    def start(command):
        handle = run(command, background=True, timeout=0)
        started.append(handle)
        assert handle.read().stdout == "ready\n"
        return handle

    trap = "trap 'echo got it; exit 5' {}; echo ready; while :; do sleep 0.05; done"
    for name, given in (("INT", "INT"), ("USR1", signal.SIGUSR1), ("TERM", "sigterm")):
        handle = start(trap.format(name))
        assert handle.signal(given) is True
        with pytest.raises(CommandExitException) as failure:
            handle.wait()
        assert (failure.value.exit_code, handle.stdout) == (5, "ready\ngot it\n")
        assert handle.kill() is False and handle.signal(given) is False
    handle = start("echo ready; sleep 1000 & wait")
    assert handle.kill(group=True) is True
    with pytest.raises(CommandExitException) as failure:
        handle.wait()
    assert failure.value.exit_code == -1 and failure.value.error == "signal: killed"
    with pytest.raises(InvalidArgumentException, match="no signal"):
        handle.signal("NONSENSE")
    assert shared.commands.kill(999_999) is False


def test_leaving_and_coming_back(shared):
    handle = shared.commands.run("echo one; read line; echo got $line", background=True, stdin=True)
    assert handle.read().stdout == "one\n"
    handle.disconnect()
    with pytest.raises(SandboxException, match="disconnected"):
        handle.read()
    again = shared.commands.connect(handle.pid, from_offset=0)
    shared.commands.send_stdin(handle.pid, "two\n")
    assert again.wait().stdout == "one\ngot two\n"
    with pytest.raises(NotFoundException):
        shared.commands.connect(999_999)


def test_callbacks_in_the_background(shared):
    seen, done = [], threading.Event()

    def on_stdout(text):
        seen.append(text)
        if "3" in text:
            done.set()

    handle = shared.commands.run(
        "echo 1; echo 2; echo 3; sleep 1000", background=True, on_stdout=on_stdout
    )
    assert done.wait(20) and handle.stdout == "1\n2\n3\n"
    assert handle.kill()
    with pytest.raises(CommandExitException):
        handle.wait()


def test_a_callback_that_fails(shared):
    def on_stdout(text):
        raise ZeroDivisionError(text)

    with pytest.raises(ZeroDivisionError):
        shared.commands.run("echo x; sleep 0.1; echo y", on_stdout=on_stdout)
    assert shared.commands.run("echo fine").stdout == "fine\n"


def test_the_time_limit(shared):
    with pytest.raises(TimeoutException) as failure:
        shared.commands.run("sleep 1000", timeout=0.5)
    assert failure.value.code == "deadline_exceeded"
    with pytest.raises(TimeoutException):
        shared.commands.run("sleep 1000", background=True, timeout=0.5).wait()


def test_terminals(shared):
    terminal = shared.pty.create(PtySize(rows=30, cols=90), timeout=0)
    screen = b""

    def expect(text):
        nonlocal screen
        while text not in screen:
            screen += terminal.read().pty
        screen = screen.partition(text)[2]

    terminal.write("stty size; tty\n")
    expect(b"30 90")
    expect(b"/dev/pts/")
    terminal.resize(PtySize(rows=11, cols=22))
    shared.pty.send_stdin(terminal.pid, "stty size\n")
    expect(b"11 22")
    terminal.write("exit 7\n")
    with pytest.raises(CommandExitException) as failure:
        terminal.wait()
    assert failure.value.exit_code == 7
    other = shared.pty.create(PtySize(24, 80), timeout=0)
    assert shared.pty.kill(other.pid) is True
    other.disconnect()


CTRL_C = """
import sys
from carrel import Sandbox
sandbox = Sandbox.connect(sys.argv[1])
try:
    sandbox.commands.run(
        "trap 'echo interrupted > gone; exit' INT; echo ready; while :; do sleep 0.05; done",
        on_stdout=lambda text: print(text, flush=True), timeout=0, cwd=sys.argv[2])
except KeyboardInterrupt:
    print(sandbox.commands.run("echo connections work").stdout)
    sys.exit(9)
"""


def test_ctrl_c_reaches_the_command(shared, folder):
    program = subprocess.Popen(
        [sys.executable, "-c", CTRL_C, shared.sandbox_id, folder],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout.readline() == "ready\n"
    program.send_signal(signal.SIGINT)
    rest, _ = program.communicate(timeout=30)
    assert "connections work" in rest and program.returncode == 9
    eventually(lambda: shared.files.exists(f"{folder}/gone"), 20, "the trap of the command")


def test_threads_share_a_sandbox(shared):
    failures = []

    def work(number):
        try:
            for turn in range(5):
                text = f"{number}-{turn}"
                assert shared.commands.run(f"echo {text}").stdout == text + "\n"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures


def test_a_child_process_does_not_share_connections(shared):
    shared.commands.run("true")
    child = os.fork()
    if child == 0:
        os._exit(0 if shared.commands.run("echo child").stdout == "child\n" else 1)
    assert shared.commands.run("echo parent").stdout == "parent\n"
    assert os.waitpid(child, 0)[1] == 0


async def test_awaiting(awaiting):
    commands = awaiting.commands
    assert (await commands.run("echo hi")).stdout == "hi\n"
    with pytest.raises(CommandExitException):
        await commands.run("exit 2")
    seen = []

    async def on_stdout(text):
        await asyncio.sleep(0)
        seen.append(text)

    handle = await commands.run("cat", background=True, stdin=True, on_stdout=on_stdout)
    await handle.write("one\n")
    assert (await handle.read()).stdout == "one\n"
    writer = commands.stream_input(handle.pid)
    await writer.send("two\n")
    assert (await handle.read()).stdout == "two\n"
    await handle.close_stdin()
    assert (await handle.wait()).stdout == "one\ntwo\n" == "".join(seen)
    assert await handle.read() is None and handle.exit_code == 0
    results = await asyncio.gather(*(commands.run(f"echo {n}") for n in range(30)))
    assert [result.stdout for result in results] == [f"{n}\n" for n in range(30)]
    sleeper = await commands.run("sleep 1000", background=True)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(sleeper.wait(), 0.1)
    assert await sleeper.kill()
    with pytest.raises(CommandExitException):
        await sleeper.wait()
    assert not await sleeper.kill()
    screen = []
    terminal = await awaiting.pty.create(PtySize(24, 80), on_data=screen.append, timeout=0)
    await terminal.write("echo te''rm; exit\n")
    assert b"term" in b"".join(screen) or (await terminal.wait()).exit_code == 0
    assert b"term" in b"".join(screen)


def test_one_event_loop_after_another(shared):
    from carrel import AsyncSandbox

    async def once():
        sandbox = await AsyncSandbox.connect(shared.sandbox_id)
        return (await sandbox.commands.run("echo loop")).stdout

    assert [asyncio.run(once()) for _ in range(3)] == ["loop\n"] * 3
