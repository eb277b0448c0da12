# SPDX-License-Identifier: Apache-2.0
"""Uploads that are cut, and an agent that is killed, at random bytes: a file is its old self or its
new one, and nothing else is left. TORN_ROUNDS multiplies the work (1)."""
import contextlib
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest
from conftest import CONFIG, DEADLINE, Agent, UnixConnection
from files import FORM, OCTETS, form, snapshot, upload, url

ROUNDS = float(os.environ.get("TORN_ROUNDS", "1"))


@pytest.fixture(scope="session")
def no_tmpfile(tmp_path_factory):
    """A library that takes O_TMPFILE away."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("preload") / "no_tmpfile.so"
    source = os.path.join(os.path.dirname(__file__), "no_tmpfile.c")
    subprocess.run([compiler, "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, source, "-ldl"],
                   check=True)
    return str(library)


@pytest.fixture(params=["nameless", "named"])
def preload(request, monkeypatch):
    """Both ways of writing: O_TMPFILE, and a temporary name where that is missing."""
    if request.param == "named":
        if os.environ.get("ASAN_OPTIONS") is not None:
            pytest.skip("the sanitizer wants to be first")
        monkeypatch.setenv("LD_PRELOAD", request.getfixturevalue("no_tmpfile"))
    return request.param


@pytest.fixture
def torn_agent(tmp_path, preload):
    (tmp_path / "agent").mkdir()
    agent = Agent(str(tmp_path / "agent"), CONFIG)
    yield agent
    agent.stop()


def raw_request(path, body, headers, chunked, choose):
    """The whole request as bytes."""
    head = [f"POST {url(path)} HTTP/1.1", "Host: x", *[f"{k}: {v}" for k, v in headers.items()]]
    if not chunked:
        return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body
    out, at = ["\r\n".join([*head, "Transfer-Encoding: chunked", "", ""]).encode()], 0
    while at < len(body):
        n = choose.randrange(1, max(2, len(body) // 3))
        piece = body[at:at + n]
        out.append(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        at += len(piece)
    return b"".join(out) + b"0\r\n\r\n"


def random_upload(path, data, choose):
    kind = choose.choice(["octets", "form", "gzip", "gzip form"])
    body = form((path, data)) if "form" in kind else data
    headers = dict(FORM if "form" in kind else OCTETS)
    if "gzip" in kind:
        body = gzip.compress(body, 1)
        headers["Content-Encoding"] = "gzip"
    return raw_request(path, body, headers, choose.random() < 0.5, choose)


def open_files(agent):
    return len(os.listdir(f"/proc/{agent.process.pid}/fd"))


def settles(agent, fds, root, before):
    """Whether everything is back as it was, once the agent has noticed that connections are gone."""
    limit = time.monotonic() + DEADLINE
    while time.monotonic() < limit:
        agent.request("GET", "/health")
        with contextlib.suppress(FileNotFoundError):  # a temporary name goes just now
            if open_files(agent) <= fds and snapshot(root) == before:
                return True
    return False


@pytest.mark.parametrize("seed", range(4))
def test_cut_uploads(torn_agent, preload, tmp_path, seed):
    agent, choose, root = torn_agent, random.Random(seed), tmp_path / "w"
    (root / "here").mkdir(parents=True)
    files = {}
    for i in range(6):
        files[f"here/{i}"] = b"old %d " % i * choose.randrange(1, 3000)
        (root / f"here/{i}").write_bytes(files[f"here/{i}"])
    before = {"here": None, **files}
    upload(agent, str(tmp_path / "warm"), bytes(1_000_000))  # starts the threads
    fds = open_files(agent) + 1  # the connection that asks
    for _ in range(int(500 * ROUNDS)):
        name = choose.choice([*files, "here/new", "far/away/new"])
        size = int(10 ** choose.uniform(0, 6.2))
        request = random_upload(f"{root}/{name}", choose.randbytes(size), choose)
        cut = choose.choice([choose.randrange(1, len(request)), len(request) - choose.randrange(1, 9)])
        connection = agent.connect()
        connection.connect()
        try:
            connection.sock.sendall(request[:cut])
            if choose.random() < 0.3:  # a half-closed connection is cut, too
                connection.sock.shutdown(1)
                while connection.sock.recv(4096):
                    pass
        except OSError:
            pass  # it may refuse what it can see is wrong
        connection.close()
        if preload == "nameless" and choose.random() < 0.1:
            assert snapshot(root) == before
    assert settles(agent, fds, root, before)


class Supervised:
    def __init__(self, directory):
        self.socket = f"{directory}/agent.sock"
        self.process = subprocess.Popen(
            [os.environ["AGENT_DRIVER"], self.socket, json.dumps(CONFIG), "supervise"],
            stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "listening\n"
        self.read_pid()

    def read_pid(self):
        self.pid = int(self.process.stdout.readline())

    def kill_agent(self):
        os.kill(self.pid, signal.SIGKILL)
        self.read_pid()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def wait_ready(self):
        connection = UnixConnection(self.socket)
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b""
        connection.close()


@pytest.fixture
def supervised(tmp_path, preload):
    (tmp_path / "agent").mkdir()
    agent = Supervised(str(tmp_path / "agent"))
    yield agent
    agent.stop()


def hammer(agent, root, worker, stop, problems):
    """Uploads one generation after the other over a few files; dies with each agent and goes on."""
    choose, generation = random.Random(worker), 0
    while not stop.is_set():
        generation += 1
        name = choose.randrange(3)
        data = b"%d %d %d\n" % (worker, name, generation) * choose.choice([1, 100, 20_000])
        request = random_upload(f"{root}/{worker}/{name}", data, choose)
        try:
            connection = UnixConnection(agent.socket)
            connection.connect()
            connection.sock.sendall(request)
            connection.sock.recv(4096)
            connection.close()
        except OSError:
            pass
        except Exception as problem:
            problems.append(problem)


def check_tree(root):
    """Each file holds one generation, whole: the same line, to its end."""
    for name, data in snapshot(root).items():
        if data is None:
            continue
        assert ".carrel" not in name, name
        lines = data.split(b"\n")
        assert lines[-1] == b"" and len(set(lines[:-1])) == 1 and len(lines) - 1 in (1, 100, 20_000), name


def test_killed_agents(supervised, tmp_path):
    root, stop, problems = tmp_path / "w", threading.Event(), []
    for worker in range(4):
        (root / str(worker)).mkdir(parents=True)
    workers = [threading.Thread(target=hammer, args=(supervised, root, i, stop, problems)) for i in range(4)]
    for t in workers:
        t.start()
    choose = random.Random(7)
    try:
        for _ in range(int(120 * ROUNDS)):
            # not a wait for anything: the moment of death is what is drawn
            threading.Event().wait(choose.uniform(0, 0.03))
            supervised.kill_agent()
    finally:
        stop.set()
        for t in workers:
            t.join()
    assert not problems
    supervised.kill_agent()  # what the last one left is swept by the next
    supervised.wait_ready()
    check_tree(root)
    assert sum(data is not None for data in snapshot(root).values()) == 12


def test_a_name_left_by_a_killed_agent_is_swept(supervised, preload, tmp_path):
    if preload == "nameless":
        pytest.skip("it has no name")
    root = tmp_path / "w"
    root.mkdir()
    connection = UnixConnection(supervised.socket)
    connection.connect()
    connection.sock.sendall(raw_request(f"{root}/f", bytes(500_000), OCTETS, False, random)[:300_000])
    limit = time.monotonic() + DEADLINE
    while not os.listdir(root):
        assert time.monotonic() < limit
    assert os.listdir(root)[0].startswith(".carrel-upload-")
    (root / ".carrel-upload-foreign").touch()
    supervised.kill_agent()
    supervised.wait_ready()
    assert os.listdir(root) == [".carrel-upload-foreign"]
