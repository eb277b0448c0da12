# SPDX-License-Identifier: Apache-2.0
"""`carrel shell` and what else needs a terminal, in a real one: tmux holds it, and its screen is read
back."""

import os
import re
import shutil
import subprocess

import pytest

from harness import BINARY, VARIABLES, eventually

SECONDS = 40

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="there is no tmux (make deps)")


class Terminal:
    """A shell of the host in a terminal of its own."""

    def __init__(self, directory, columns=100, rows=30):
        self.socket = directory / "tmux"
        env = {name: os.environ[name] for name in (*VARIABLES, "PATH")}
        env |= {"HOME": str(directory), "TERM": "screen", "LC_ALL": "C.UTF-8"}
        subprocess.run(["tmux", "-S", self.socket, "-f", "/dev/null", "new-session", "-d",
                        "-x", str(columns), "-y", str(rows), "env PS1='host> ' bash --norc --noprofile"],
                       env=env, check=True, timeout=SECONDS)  # fmt: skip
        self.until("host> ")

    def tmux(self, *words):
        return subprocess.run(["tmux", "-S", self.socket, *words], check=True, text=True,
                              capture_output=True, timeout=SECONDS).stdout  # fmt: skip

    def type(self, text, enter=True):
        self.tmux("send-keys", "-l", text)
        if enter:
            self.tmux("send-keys", "Enter")

    def key(self, name):
        self.tmux("send-keys", name)

    def screen(self):
        return self.tmux("capture-pane", "-p", "-S", "-", "-J")

    def until(self, pattern):
        """Waits until the screen shows this."""
        found = re.compile(pattern, re.M)
        try:
            return eventually(lambda: found.search(self.screen()), SECONDS, pattern)
        except AssertionError:
            raise AssertionError(f"{pattern!r} is not on the screen:\n{self.screen()}") from None

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True)


@pytest.fixture
def terminal(server, tmp_path):
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


@pytest.fixture
def box(server):
    box = subprocess.run([BINARY, "create"], capture_output=True, text=True, check=True,
                         timeout=SECONDS).stdout.strip()  # fmt: skip
    yield box
    subprocess.run([BINARY, "kill", box], capture_output=True, timeout=SECONDS)


def test_a_shell(terminal, box):
    terminal.type(f"{BINARY} shell {box}; echo status $?")
    terminal.until(r"user@.*\$ $")
    terminal.type("stty size; echo $TERM; tty")
    terminal.until(r"^30 100\n\S+\n/dev/pts/\d+$")
    terminal.tmux("resize-window", "-x", "90", "-y", "25")
    terminal.type("until [ \"$(stty size)\" = '25 90' ]; do sleep 0.05; done; echo re''sized")
    terminal.until("^resized$")
    # what is typed before a command runs would be the line editor's, and no end of file
    terminal.type("echo re''ady; cat > typed.txt")
    terminal.until("^ready$")
    terminal.type("grüße — line")
    terminal.key("C-d")
    terminal.type("wc -c typed.txt")
    terminal.until(r"^17 typed.txt$")
    terminal.type("echo sle''eps; sleep 300")
    terminal.until("^sleeps$")
    terminal.key("C-c")
    terminal.until(r"\^C")
    terminal.type("exit 42")
    terminal.until("^status 42$")
    terminal.type("stty -a | tr ' ' '\\n' | grep -c '^-echo$'; echo re''stored")
    terminal.until("^0\nrestored$")


def test_leaving_and_coming_back(terminal, box):
    terminal.type(f"{BINARY} shell {box}; echo status $?")
    terminal.until(r"user@.*\$ $")
    terminal.type("here=kept")
    terminal.key("C-]")
    pid = terminal.until(r"carrel attach \w+ (\d+)").group(1)
    terminal.until("^status 0$")
    terminal.type(f"{BINARY} attach {box} {pid}; echo again $?")
    terminal.type("echo is ${here}ed; exit 3")
    terminal.until("^is kepted")
    terminal.until("^again 3$")


def test_a_terminal_that_closes_hangs_up(terminal, box):
    terminal.type(f"{BINARY} shell {box}")
    terminal.until(r"user@.*\$ $")
    terminal.close()

    def nothing_runs():
        out = subprocess.run([BINARY, "ps", box], capture_output=True, text=True).stdout
        return len(out.splitlines()) == 1

    eventually(nothing_runs, SECONDS, "the end of the shell")


def test_exec_in_a_terminal(terminal, box):
    terminal.type(f"{BINARY} exec -t {box} sh -c 'tty; stty size; read x; exit $x'; echo status $?")
    terminal.until("^30 100$")
    terminal.type("9")
    terminal.until("^status 9$")
    terminal.type(f"{BINARY} exec {box} sh -c 'echo re''ady; exec sleep 300'; echo status $?")
    terminal.until("^ready$")
    terminal.key("C-c")
    terminal.until("^status 130$")


def test_a_progress_bar_and_top(terminal, box, tmp_path):
    big = tmp_path / ("big" * 50)
    with open(big, "wb") as file:
        file.truncate(256 << 20)
    terminal.type(f"cd {tmp_path}; clear")
    terminal.until(r"\A[^\n]*host> $")
    terminal.type(f"{BINARY} cp big* {box}:; echo status $?")
    terminal.until("^status 0$")
    assert "[=" not in terminal.screen(), "the bar is gone, and never took a second line"
    terminal.type(f"{BINARY} top -i 1")
    terminal.until(f"^SANDBOX  +STATE .*\n{box}")
    terminal.key("C-c")
    terminal.until(r"host> $")


def test_names_do_no_harm_to_the_terminal(terminal, box):
    subprocess.run([BINARY, "exec", box, "sh", "-c", "mkdir d; touch \"d/$(printf 'a\\033[31mb')\""],
                   check=True, stdin=subprocess.DEVNULL, timeout=SECONDS)  # fmt: skip
    terminal.type(f"{BINARY} ls {box} d")
    terminal.until(r"^a\?\[31mb$")
