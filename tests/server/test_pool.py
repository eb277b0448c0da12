# SPDX-License-Identifier: Apache-2.0
"""The pool: who gets a sandbox that waits, what it is given, and what becomes of it when something
dies."""
import json
import signal
import sqlite3
import subprocess
import threading

import pytest

from conftest import DRIVER, Server, eventually
from fakes import CREATE, DESTROY, ERR_INTERNAL, echo

POOL = 3


class Pool:
    """A server with a pool, and what its agents were asked."""

    def __init__(self, server):
        self.server = server
        self.launcher = server.launcher
        self.asked = []  # (sandbox, target, configuration or None)
        self.rehearsed = []  # those that have run a program
        self.answer = lambda name, target: 204
        made = self.launcher.add_box

        def add_box(name, config=b"{}"):
            made(name, config)
            self.launcher.boxes[name].handler = lambda s, h: self.serve(name, s, h)

        self.launcher.add_box = add_box
        for name, box in self.launcher.boxes.items():
            box.handler = lambda s, h, name=name: self.serve(name, s, h)

    def serve(self, name, stream, head):
        target = head.first.split()[1]
        if target == "/process.Process/Start":
            if stream.body(head)[5:].startswith(b'{"process":{"cmd":"/bin/true"}'):
                self.rehearsed.append(name)
            stream.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
        if target not in ("/init", "/health"):
            echo(stream, head)
            return
        body = stream.body(head)
        self.asked.append((name, target, json.loads(body) if body else None))
        status = self.answer(name, target)
        if status:
            stream.sock.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)

    def waiting(self):
        """Those greeted and tried out, in the launcher, and not taken."""
        taken = {name for name, target, _ in self.asked if target == "/init"}
        greeted = {name for name, target, _ in self.asked if target == "/health"}
        ready = greeted & set(self.rehearsed)
        return [n for n in self.launcher.boxes if n in ready and n not in taken]

    def full(self, count=POOL):
        eventually(lambda: len(self.waiting()) == count)
        return set(self.waiting())


@pytest.fixture
def pool(monkeypatch):
    opened = []

    def make(option=f"base={POOL}", *more):
        started = Server.start
        # The pool is there before the server is.
        def start(server, *args, **kwargs):
            if not opened:
                opened.append(Pool(server))
            started(server, *args, **kwargs)

        monkeypatch.setattr(Server, "start", start)
        Server(["--pool", option, *more])
        return opened[0]

    yield make
    for one in opened:
        one.server.close()


def test_it_fills_and_is_seen_by_nobody(pool):
    pool = pool()
    pool.full()
    server = pool.server
    assert server.api("GET", "/v2/sandboxes").json == []
    for name in pool.waiting():
        assert server.api("GET", f"/sandboxes/{name}").status == 404
        assert server.api("DELETE", f"/sandboxes/{name}").status == 404
        reply = server.request("GET", "/health", headers={"E2b-Sandbox-Id": name,
                                                          "E2b-Sandbox-Port": "49983"})
        assert reply.status == 502
    assert sqlite3.connect(server.state + "/server/carrel.db").execute(
        "SELECT count(*) FROM sandboxes").fetchone() == (0,)


def test_one_is_taken_whole(pool):
    pool = pool()
    before = pool.full()
    sandbox = pool.server.create(envVars={"A": "1"}, metadata={"m": "x"}, timeout=77)
    assert sandbox.id in before
    given = [c for name, target, c in pool.asked if name == sandbox.id and target == "/init"]
    assert len(given) == 1 and given[0]["sandboxId"] == sandbox.id
    assert given[0]["envs"]["A"] == "1" and given[0]["envs"]["E2B_SANDBOX_ID"] == sandbox.id
    info = sandbox.info().json
    assert info["metadata"] == {"m": "x"} and info["envdAccessToken"] == sandbox.token
    assert sandbox.request("GET", "/health").status in (200, 204)
    # Replaced, and never given again.
    assert sandbox.id not in pool.full()
    others = [pool.server.create().id for _ in range(2 * POOL)]
    assert len({sandbox.id, *others}) == 2 * POOL + 1
    assert sandbox.kill() == 204
    eventually(lambda: sandbox.id not in pool.launcher.boxes)


def test_many_at_once_get_different_ones(pool):
    pool = pool("base=8")
    pool.full(8)
    got, count = [], 24
    threads = [threading.Thread(target=lambda: got.append(pool.server.create().id))
               for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == count
    taken = [name for name, target, _ in pool.asked if target == "/init"]
    assert len(taken) == len(set(taken))


@pytest.mark.parametrize("fields", [{"allow_internet_access": False},
                                    {"network": {"denyOut": ["1.2.3.4"]}},
                                    {"templateID": "other"}])
def test_what_is_different_is_made(pool, fields):
    pool = pool()
    pool.server.manifest({"defaultUser": "user"}, "other")
    before = pool.full()
    assert pool.server.create(**fields).id not in before


def test_a_new_build_of_the_template(pool):
    pool = pool()
    before = pool.full()
    pool.server.manifest({"defaultUser": "user", "builtAt": "2031-01-01T00:00:00Z"})
    assert pool.server.create().id not in before
    eventually(lambda: not before & set(pool.launcher.boxes))
    after = pool.full()
    assert pool.server.create().id in after


def test_one_that_dies_is_replaced(pool):
    pool = pool()
    before = pool.full()
    victim = pool.waiting()[0]
    pool.launcher.die(victim)
    eventually(lambda: len(pool.full() - before) == 1)
    assert pool.server.create().id != victim


@pytest.mark.parametrize("answer", [500, 0])
def test_an_agent_that_fails_when_it_is_taken(pool, answer):
    """The client gets another, made for it; the failed one goes."""
    pool = pool()
    before = pool.full()
    pool.answer = lambda name, target: answer if target == "/init" else 204
    sandbox = pool.server.create()
    assert sandbox.id not in before
    failed = [name for name, target, _ in pool.asked if target == "/init"]
    assert len(failed) == 1
    eventually(lambda: failed[0] not in pool.launcher.boxes)
    assert {s["sandboxID"] for s in pool.server.api("GET", "/v2/sandboxes").json} == {sandbox.id}


def test_failures_are_not_repeated_at_once(pool):
    pool = pool("base=0")
    server, launcher = pool.server, pool.launcher
    server.stop()
    launcher.override[CREATE] = lambda call: {"code": ERR_INTERNAL, "message": "no"}
    server.options[1] = "base=3"
    server.start()
    launcher.wait_call(CREATE)
    for _ in range(50):
        server.request("GET", "/health")
    assert launcher.count(CREATE) == 1 and "pool not filled" in server.log()


def test_a_template_that_is_not_there(pool):
    pool = pool("nothing=2,base=1")
    pool.full(1)
    assert pool.server.create().id


def test_client_that_goes_away(pool):
    pool = pool()
    pool.full()
    held = threading.Event()
    gone = threading.Event()

    def answer(name, target):
        if target == "/init":
            held.set()
            gone.wait(10)
        return 204

    pool.answer = answer
    stream = pool.server.stream()
    body = b'{"templateID":"base"}'
    stream.sock.sendall(b"POST /v2/sandboxes HTTP/1.1\r\nHost: x\r\nX-API-KEY: " +
                        pool.server.key.encode() + b"\r\nContent-Length: %d\r\n\r\n%s" %
                        (len(body), body))
    assert held.wait(10)
    stream.sock.close()
    taken = [name for name, target, _ in pool.asked if target == "/init"]
    pool.server.request("GET", "/health")
    gone.set()
    eventually(lambda: taken[0] not in pool.launcher.boxes)
    assert pool.server.api("GET", "/v2/sandboxes").json == []


def test_the_launcher_comes_back(pool):
    """Those that still are there go on waiting; those that are not are replaced."""
    pool = pool()
    before = pool.full()
    pool.launcher.stop()
    lost = pool.waiting()[0]
    pool.launcher.remove_box(lost)
    pool.launcher.start()
    eventually(lambda: len(pool.waiting()) == POOL and lost not in pool.waiting())
    assert len(before & set(pool.waiting())) == POOL - 1
    assert pool.server.create().id != lost


def test_the_server_is_killed(pool):
    """What was taken lives on, what waited does not."""
    pool = pool()
    pool.full()
    sandbox = pool.server.create(metadata={"k": "v"})
    before = pool.full()
    pool.server.stop(signal.SIGKILL)
    pool.server.start()
    eventually(lambda: not before & set(pool.launcher.boxes))
    assert sandbox.info().json["metadata"] == {"k": "v"}
    assert not before & pool.full()


def test_a_stop_ends_those_that_wait(pool):
    pool = pool()
    pool.full()
    sandbox = pool.server.create()
    pool.full()
    assert pool.server.stop() == 0
    assert set(pool.launcher.boxes) == {sandbox.id}
    assert pool.launcher.count(DESTROY, sandbox.id) == 0
    pool.server.start()


def test_they_are_not_counted(pool):
    pool = pool(f"base={POOL}", "--max-sandboxes", "2")
    pool.full()
    pool.server.create()
    pool.full()
    pool.server.create()
    assert pool.server.api("POST", "/v2/sandboxes", {"templateID": "base"}).status == 429


@pytest.mark.parametrize("option", ["base", "base=", "base=x", "base=1,base=2", "=1", "base=1,",
                                    "a/b/c=1", "base=100000"])
def test_bad_options(option):
    done = subprocess.run([DRIVER, "3", "--pool", option], capture_output=True, text=True)
    assert done.returncode != 0 and "server_driver: " in done.stderr and "Assert" not in done.stderr
