# SPDX-License-Identifier: Apache-2.0
"""One `carrel serve` takes the place of another: nobody is refused, nothing is lost."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import pytest
from e2b import Sandbox

from harness import BINARY, TEMPLATES, eventually


class Hammer:
    """Asks for /health on connections of its own until told to stop; an error is kept."""

    def __init__(self, url):
        self.url, self.count, self.errors, self.going = url, 0, [], True
        self.threads = [threading.Thread(target=self.run) for _ in range(4)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while self.going:
            begun = time.monotonic()
            try:
                urllib.request.urlopen(self.url + "/health", timeout=60).read()
                self.count += 1
            except Exception as error:
                self.errors.append((error, time.monotonic() - begun))
                return

    def stop(self):
        self.going = False
        for thread in self.threads:
            thread.join(90)
        assert self.errors == []
        return self.count


def living():
    """A sandbox with a process, and what tells both again."""
    sandbox = Sandbox.create(timeout=300, metadata={"from": "before"})
    process = sandbox.commands.run(
        "echo begun; read x; echo got $x; read y", background=True, stdin=True, timeout=0
    )
    return sandbox, process


def same(sandbox, process, word):
    assert sandbox.get_info().metadata == {"from": "before"}
    reader = sandbox.commands.connect(process.pid)
    sandbox.commands.send_stdin(process.pid, word + "\n")
    seen = ""
    for out, _, _ in reader:
        seen += out or ""
        if seen.endswith(f"got {word}\n"):
            break
    assert seen == f"begun\ngot {word}\n" or seen == f"got {word}\n"


def test_replace(own_server):
    server = own_server
    sandbox, process = living()
    paused = Sandbox.create(timeout=300)
    paused.files.write("kept", "kept")
    paused.pause()
    snapshot = sandbox.create_snapshot()
    hammer = Hammer(server.env["E2B_API_URL"])
    old = server.proc
    old_children = server.children()
    server.extra.append("--replace")
    server.start(listen="127.0.0.1:1")  # what it is given counts, not what it was told
    assert old.wait(30) == 0
    assert not set(old_children.values()) & set(server.children().values())
    eventually(lambda: hammer.count > 50, what="more answers")
    hammer.stop()
    same(sandbox, process, "news")
    assert paused.connect() and paused.files.read("kept") == "kept"
    copy = Sandbox.create(snapshot.snapshot_id, timeout=60)
    assert copy.commands.run("echo up").stdout == "up\n"
    for each in (copy, paused, sandbox):
        assert each.kill() is True
    assert Sandbox.delete_snapshot(snapshot.snapshot_id) is True


def test_without_asking_there_is_no_replacing(own_server):
    server = own_server
    done = subprocess.run(
        [str(BINARY), "serve", "--state", str(server.state), "--run", str(server.run),
         "--templates", str(TEMPLATES)],
        capture_output=True, text=True, timeout=30,
    )
    assert done.returncode != 0 and "--replace" in done.stderr


@pytest.fixture
def managed(tmp_path, own_server):
    """The own server started again as a service manager would: the socket, and someone to tell."""
    server = own_server
    assert server.stop() == 0
    said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    said.bind(str(server.directory / "notify"))
    said.settimeout(30)
    listener = socket.create_server(("127.0.0.1", 0))
    program = server.directory / "carrel"
    shutil.copy(BINARY, program)
    server.binary = program
    server.prefix = ["bash", "-c", "exec 3<&$FD; export LISTEN_PID=$$; unset FD; exec \"$@\"", "bash"]
    saved = dict(os.environ)
    os.environ.update(NOTIFY_SOCKET=str(server.directory / "notify"), LISTEN_FDS="1",
                      FD=str(listener.fileno()))
    os.set_inheritable(listener.fileno(), True)
    server.pass_fds = (listener.fileno(),)
    server.start()
    for name in ("NOTIFY_SOCKET", "LISTEN_FDS", "FD"):
        os.environ.pop(name)
    os.environ.update({k: saved[k] for k in saved if k in os.environ})
    os.environ.update({k: v for k, v in server.env.items() if k.startswith("E2B_")})
    server.said = said
    port = listener.getsockname()[1]
    listener.close()
    assert server.env["E2B_API_URL"].endswith(f":{port}")
    yield server
    said.close()


def test_a_new_program_in_the_same_process(managed):
    server = managed
    assert server.said.recv(1000) == b"READY=1"
    sandbox, process = living()
    hammer = Hammer(server.env["E2B_API_URL"])
    # As a package does it: the file is another, in the place of the old.
    shutil.copy(BINARY, server.directory / "carrel.new")
    (server.directory / "carrel.new").rename(server.binary)
    before, pid = server.children(), server.proc.pid
    server.proc.send_signal(signal.SIGUSR2)
    reloading = server.said.recv(1000).decode().splitlines()
    assert reloading[0] == "RELOADING=1" and reloading[1].startswith("MONOTONIC_USEC=")
    assert int(reloading[1].split("=")[1]) <= time.monotonic_ns() // 1000
    assert server.said.recv(1000) == b"READY=1"
    assert server.proc.poll() is None and server.proc.pid == pid
    assert "(deleted)" not in os.readlink(f"/proc/{pid}/exe")
    assert not set(before.values()) & set(server.children().values())
    eventually(lambda: hammer.count > 50, what="more answers")
    hammer.stop()
    same(sandbox, process, "again")
    assert sandbox.kill() is True
    server.binary.unlink()
    server.proc.send_signal(signal.SIGUSR2)  # nothing to go on as: it stays what it is
    eventually(lambda: "program not replaced" in server.log.read_text(), what="the refusal")
    assert Sandbox.create(timeout=60).kill() is True
    server.proc.send_signal(signal.SIGTERM)
    assert server.said.recv(1000) == b"STOPPING=1"
    assert server.proc.wait(30) == 0
