# SPDX-License-Identifier: Apache-2.0
"""`carrel serve` as a whole, without sandboxes: supervision, files, the other commands. Needs root."""
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import tempfile
import threading
import urllib.request

import pytest

from conftest import eventually

CARREL = os.environ.get("CARREL", "")
USER = 64991

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not CARREL, reason="needs root and CARREL")


def carrel(*arguments, **more):
    return subprocess.run([CARREL, *arguments], capture_output=True, text=True, timeout=20, **more)


class Serve:
    def __init__(self, *options):
        self.directory = tempfile.mkdtemp(prefix="cs.", dir="/tmp")
        os.chmod(self.directory, 0o755)
        self.where = ["--state", self.directory + "/state", "--run", self.directory + "/run",
                      "--user", str(USER), "--ca-bundle", "none"]
        self.options = options
        self.start()

    def start(self):
        with open(self.directory + "/log", "a") as log:
            self.process = subprocess.Popen(
                [CARREL, "serve", "--listen", "127.0.0.1:0", *self.where, *self.options],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
        self.lines = [self.process.stdout.readline() for _ in range(3)]
        self.url = self.lines[1].split("=", 1)[1].strip()
        return self

    def children(self):
        """name -> pid, the zygotes and sandboxes of the launcher not among them"""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        found = {}
        for pid in open(path).read().split():
            try:
                found[open(f"/proc/{pid}/comm").read().strip()] = int(pid)
            except FileNotFoundError:
                pass
        return found

    def get(self, path="/health"):
        with urllib.request.urlopen(self.url + path, timeout=20) as reply:
            return reply.status

    def log(self):
        return open(self.directory + "/log").read()

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(30)

    def close(self):
        if self.process.poll() is None:
            self.stop()
        self.process.stdout.close()
        shutil.rmtree(self.directory)


@pytest.fixture
def serve():
    made = []

    def make(*options):
        made.append(Serve(*options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_start_env_and_stop(serve):
    one = serve()
    assert re.fullmatch(r"export E2B_API_KEY=e2b_[0-9a-f]{40}\nexport E2B_API_URL=(http://127\.0\.0\.1:\d+)"
                        r"\nexport E2B_SANDBOX_URL=\1\n", "".join(one.lines))
    assert one.get() == 204
    env = carrel("env", *one.where)
    assert (env.returncode, env.stdout) == (0, "".join(one.lines))
    assert one.stop(signal.SIGINT) == 0
    assert one.process.stdout.read() == "", "nothing else on standard output"
    env = carrel("env", *one.where)
    assert env.returncode == 66 and "no server runs" in env.stderr
    key = one.lines[0]
    one.process.stdout.close()
    one.start()
    assert one.lines[0] == key


def test_who_owns_what(serve):
    one = serve()

    def owner(path):
        st = os.lstat(one.directory + path)
        return st.st_uid, stat.S_IMODE(st.st_mode)

    assert owner("/state") == (0, 0o755)
    assert owner("/state/server") == (USER, 0o700)
    assert owner("/state/server/key") == (USER, 0o600)
    assert owner("/state/server/carrel.db")[0] == USER
    assert owner("/run") == (0, 0o755)
    assert owner("/run/url") == (0, 0o644)
    st = os.lstat(one.directory + "/run/launcher.sock")
    assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (0, USER, 0o660)
    children = one.children()
    assert set(children) == {"carrel-server", "carrel-launcher", "carrel-egress"}
    status = open(f"/proc/{children['carrel-server']}/status").read()
    assert re.search(rf"^Uid:\t{USER}\t{USER}\t{USER}\t{USER}$", status, re.M)
    assert re.search(r"^Groups:\s*$", status, re.M) and re.search(r"^NoNewPrivs:\t1$", status, re.M)
    links = [os.readlink(f"/proc/{children['carrel-server']}/fd/{fd}")
             for fd in os.listdir(f"/proc/{children['carrel-server']}/fd")]
    assert not [link for link in links if "lock" in link or "signalfd" in link]


def test_key_commands_beside_it(serve):
    one = serve()
    done = carrel("key", "create", "second", *one.where[:2])
    assert done.returncode == 0 and re.fullmatch("e2b_[0-9a-f]{40}\n", done.stdout)
    request = urllib.request.Request(one.url + "/sandboxes", headers={"X-API-KEY": done.stdout.strip()})
    assert json.load(urllib.request.urlopen(request, timeout=10)) == []
    for name in os.listdir(one.directory + "/state/server"):
        assert os.lstat(f"{one.directory}/state/server/{name}").st_uid == USER, name
    assert carrel("key", "revoke", "default", *one.where[:2]).returncode == 0
    assert carrel("env", *one.where).returncode != 0
    assert carrel("key", "list", "--state", one.directory + "/nowhere").returncode == 66


def test_two_on_one_directory(serve):
    one = serve()
    done = carrel("serve", "--listen", "127.0.0.1:0", *one.where)
    assert done.returncode == 75 and "another carrel serves from" in done.stderr
    assert one.get() == 204


@pytest.mark.parametrize("victim", ["carrel-server", "carrel-launcher"])
def test_killed_child_is_replaced(serve, victim):
    one = serve()
    pid = one.children()[victim]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: one.children().get(victim) not in (None, pid), 20)
    assert one.get() == 204
    eventually(lambda: "process died" in one.log())


def test_no_connection_is_refused_meanwhile(serve):
    one = serve()
    port = int(one.url.rsplit(":", 1)[1])
    stop, errors, served = threading.Event(), [], [0]

    def ask():
        while not stop.is_set():
            try:
                sock = socket.create_connection(("127.0.0.1", port), 20)
            except OSError as error:
                errors.append(error)
                return
            with sock:
                try:
                    sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    served[0] += sock.recv(100).startswith(b"HTTP/1.1 204")
                except ConnectionResetError:
                    pass  # it was being served when the server died

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        before, pid = served[0], one.children()["carrel-server"]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: one.children().get("carrel-server") not in (None, pid), 20)
        eventually(lambda: served[0] > before + 20, 20)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors


def test_killed_supervisor_takes_all_down(serve):
    one = serve()
    children = one.children()
    one.process.kill()
    one.process.wait(10)
    eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children.values()), 20)
    one.process.stdout.close()
    one.start()
    assert one.get() == 204


def test_children_that_cannot_start_end_it(serve):
    one = serve()
    assert one.stop() == 0
    one.process.stdout.close()
    with sqlite3.connect(one.directory + "/state/server/carrel.db") as db:
        db.execute("PRAGMA user_version = 77")
    db.close()
    done = carrel("serve", "--listen", "127.0.0.1:0", *one.where)
    assert done.returncode == 2 and "written by a newer carrel" in done.stderr
    one.process = subprocess.Popen(["true"], stdout=subprocess.PIPE)


@pytest.mark.parametrize("arguments,status,says", [
    (["--nope"], 2, "unknown option --nope"),
    (["--listen", "nowhere"], 2, "ADDR:PORT"),
    (["--listen", "192.0.2.1:1"], 70, "listen on 192.0.2.1:1"),
    (["--user", "root"], 2, "must not run as root"),
    (["--user", "0"], 2, "must not run as root"),
    (["--user", "nobody-of-that-name"], 66, "no user"),
    (["--config", "/nonexistent.conf"], 66, "/nonexistent.conf"),
    (["--run", "/tmp/" + "x" * 90], 2, "too long"),
])
def test_what_cannot_be(tmp_path, arguments, status, says):
    done = carrel("serve", "--state", str(tmp_path / "s"), "--run", str(tmp_path / "r"), *arguments)
    assert says in done.stderr and done.returncode == status, done.stderr


def test_configuration_file(tmp_path):
    (tmp_path / "c.conf").write_text("listen = 127.0.0.1:0\n\nmemory-mb = lots\n")
    done = carrel("serve", "--config", str(tmp_path / "c.conf"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"carrel serve: {tmp_path}/c.conf:3: memory-mb: ")


def test_help_and_version():
    assert re.fullmatch(r"carrel \d+\.\d+\.\d+\n", carrel("version").stdout)
    for command in ("serve", "env", "key"):
        done = carrel(command, "--help")
        assert done.returncode == 0 and command in done.stdout
        assert command in carrel("help").stdout
    assert "--ephemeral" in carrel("serve", "--help").stdout
    assert carrel().returncode == 2
    assert carrel("fly").returncode == 2
