# SPDX-License-Identifier: Apache-2.0
"""The agent dies, at any moment: no process, no byte of output, no exit code is lost."""
import base64
import hashlib
import http.client
import json
import os
import random
import signal
import struct
import threading
import time

import pytest

from conftest import CONFIG, DEADLINE, RpcError
from mended import Mended

MIB = 1 << 20


@pytest.fixture
def mended(tmp_path):
    agent = Mended(str(tmp_path), CONFIG)
    yield agent
    agent.stop()


def test_a_process_goes_on(mended):
    stream = mended.sh("echo one; read a; echo two $a; read b; exit 5", stdin=True, tag="mine")
    pid = stream.pid
    assert stream.data() == b"one\n"
    before = mended.unary("List", {})
    mended.mend()
    with pytest.raises((EOFError, http.client.IncompleteRead)):
        stream.finish()
    assert mended.unary("List", {}) == before
    again = mended.attach(pid)
    mended.send(pid, b"x\n")
    assert again.data() == b"two x\n"
    # What a reader got in the moment of the death may come again; an answer says the moment is over.
    mended.unary("List", {})
    mended.mend()
    mended.send(pid, b"\n")
    out, end = mended.attach(pid).finish()
    assert out["stdout"] == b"" and end["exitCode"] == 5


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM])
def test_whatever_kills_it(mended, number):
    stream = mended.sh("read a; exit 6", stdin=True)
    mended.mend(number)
    mended.send(stream.pid, b"\n")
    assert mended.attach(stream.pid).finish()[1]["exitCode"] == 6


def test_what_happens_while_it_is_down(mended, tmp_path):
    """init is stopped, so that nobody is there when the processes end."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    done = mended.sh('read x <"$1"; echo out; echo err >&2; exit 7', str(gate))
    os.kill(mended.init, signal.SIGSTOP)
    old = mended.kill_agent()
    gate.write_text("go\n")
    os.kill(mended.init, signal.SIGCONT)
    mended.wait_agent(old)
    out, end = mended.attach(done.pid).finish()
    assert (out["stdout"], out["stderr"], end["exitCode"]) == (b"out\n", b"err\n", 7)


def test_how_a_process_was_killed(mended):
    stream = mended.start("/bin/cat", stdin=True)
    mended.mend()
    mended.signal(stream.pid, "SIGNAL_SIGTERM")
    assert mended.attach(stream.pid).finish()[1]["status"] == "signal: terminated"


def test_the_end_is_remembered(mended):
    stream = mended.sh("echo tail; exit 9")
    out, end = stream.finish()
    assert end["exitCode"] == 9
    mended.unary("List", {})  # by its answer the agent has noted what the reader has got
    mended.mend()
    out, end = mended.attach(stream.pid).finish()
    assert out["stdout"] == b"" and end["exitCode"] == 9
    again = mended.stream("Connect", {"process": {"pid": stream.pid}, "fromOffset": 0}).started()
    assert again.finish()[0]["stdout"] == b"tail\n"


def test_input_still_ends(mended):
    stream = mended.start("/bin/cat", stdin=True)
    mended.send(stream.pid, b"a")
    mended.mend()
    mended.send(stream.pid, b"b")
    mended.unary("CloseStdin", {"process": {"pid": stream.pid}})
    late = mended.stream("Connect", {"process": {"pid": stream.pid}, "fromOffset": 0}).started()
    assert late.finish()[0]["stdout"] == b"ab"


def test_input_closed_before_stays_closed(mended):
    stream = mended.sh("cat; read x <$0; echo end", stdin=True)
    mended.unary("CloseStdin", {"process": {"pid": stream.pid}})
    mended.mend()
    with pytest.raises(RpcError) as raised:
        mended.send(stream.pid, b"b")
    assert raised.value.code in ("internal", "not_found")
    mended.wait_gone(stream.pid)


def test_a_terminal(mended):
    stream = mended.start("/bin/sh", pty={"size": {"cols": 80, "rows": 24}}, envs={"PS1": "$ "})
    stream.until(b"$ ", "pty")
    mended.mend()
    again = mended.attach(stream.pid)
    mended.send(stream.pid, b"stty size\n", "pty")
    again.until(b"24 80\r\n", "pty")
    mended.unary("Update", {"process": {"pid": stream.pid}, "pty": {"size": {"cols": 99, "rows": 33}}})
    mended.send(stream.pid, b"stty size; exit 4\n", "pty")
    again.until(b"33 99\r\n", "pty")
    assert again.finish()[1]["exitCode"] == 4


def test_a_deadline_still_holds(mended):
    stream = mended.start("/bin/cat", stdin=True, headers={"Connect-Timeout-Ms": "1500"})
    mended.mend()
    assert mended.attach(stream.pid).finish()[1]["status"] == "signal: killed"


def test_half_a_character_is_kept(mended):
    stream = mended.sh(r"printf 'x\342'; read a; printf '\202\254y'", stdin=True)
    assert stream.until(b"x") in (b"x", b"x\xe2")
    mended.mend()
    late = mended.stream("Connect", {"process": {"pid": stream.pid}, "fromOffset": 0}).started()
    mended.send(stream.pid, b"\n")
    assert late.finish()[0]["stdout"] == "x€y".encode()


def test_the_configuration_given_later(mended):
    config = {**CONFIG, "envs": {"COLOUR": "later"}}
    assert mended.request("POST", "/init", json.dumps(config).encode())[0].status == 204
    mended.mend()
    assert mended.run("/bin/sh", "-c", "echo $COLOUR")[0]["stdout"] == b"later\n"


def test_a_request_of_megabytes(mended):
    args = ["x" * 100000] * 15
    stream = mended.start("/bin/sh", "-c", "read a", "sh", *args, stdin=True, tag="long")
    mended.mend()
    (info,) = mended.unary("List", {})["processes"]
    assert info["config"]["args"][3:] == args and info["tag"] == "long"
    mended.signal(stream.pid)


def test_group_and_orphans_after(mended):
    stream = mended.sh("tail -f /dev/null & echo $!; wait", stdin=True)
    child = int(stream.until(b"\n"))
    mended.mend()
    mended.unary("SendSignal", {"process": {"pid": stream.pid}, "signal": 9, "group": True})
    assert mended.attach(stream.pid).finish()[1]["status"] == "signal: killed"
    out, _ = mended.run("/bin/sh", "-c", f"kill -0 {child} 2>&1 || echo gone")
    assert b"gone" in out["stdout"]


def test_dead_again_and_again(mended):
    stream = mended.sh("while read a; do echo $a; done; exit 3", stdin=True)
    expected = b""
    for i in range(5):
        mended.send(stream.pid, b"%d\n" % i)
        expected += b"%d\n" % i
        mended.mend()
    mended.unary("CloseStdin", {"process": {"pid": stream.pid}})
    late = mended.stream("Connect", {"process": {"pid": stream.pid}, "fromOffset": 0}).started()
    out, end = late.finish()
    assert out["stdout"] == expected and end["exitCode"] == 3


# ---- under load ----

COUNTED = r"""
import os, struct, sys
total, kind = int(sys.argv[1]), int(sys.argv[2])
for start in range(0, total, 65536):
    block = b"".join(struct.pack(">Q", start + i) for i in range(0, 65536, 8))
    while block:
        block = block[os.write(kind, block):]
sys.exit(11)
"""


def counted(total):
    return b"".join(struct.pack(">Q", i) for i in range(0, total, 8))


class Following(threading.Thread):
    """A client that reads a process's output to its end, whatever happens in between."""

    def __init__(self, agent, pid):
        super().__init__(daemon=True)
        self.agent, self.pid = agent, pid
        self.out, self.end, self.cuts, self.error = bytearray(), None, 0, None

    def run(self):
        try:
            while self.end is None:
                self.follow()
        except Exception as e:  # shown by the test
            self.error = e

    def follow(self):
        try:
            stream = self.agent.stream("Connect", {
                "process": {"pid": self.pid}, "fromOffset": len(self.out)}).started()
            for event in stream.events():
                for text in event.get("data", {}).values():
                    self.out += base64.b64decode(text)
                    assert stream.position == len(self.out), "a byte is missing or twice"
                self.end = event.get("end", self.end)
            stream.close()
        except (EOFError, OSError, http.client.HTTPException):
            self.cuts += 1


@pytest.mark.parametrize("kind", [1, 2])
def test_under_load_every_byte_once(mended, tmp_path, kind):
    total = 24 * MIB
    (tmp_path / "counted.py").write_text(COUNTED)
    pids = [mended.start("/usr/bin/python3", str(tmp_path / "counted.py"), str(total), str(kind),
                         keepOutput=True).pid for _ in range(2)]
    clients = [Following(mended, pid) for pid in pids]
    for client in clients:
        client.start()
    random.seed(kind)
    kills = 0
    limit = time.monotonic() + DEADLINE
    while any(c.is_alive() for c in clients) and time.monotonic() < limit:
        at = random.randrange(total)
        while all(len(c.out) < at and c.is_alive() for c in clients) and kills < 7:
            time.sleep(0.001)  # for the readers, who share this interpreter
        if kills < 7:
            mended.mend()
            kills += 1
    for client in clients:
        client.join(DEADLINE)
        assert client.error is None
        assert hashlib.sha256(client.out).digest() == hashlib.sha256(counted(total)).digest()
        assert client.end["exitCode"] == 11
    assert kills >= 3


def test_a_terminal_under_load(mended, tmp_path):
    stream = mended.sh('read go; stty -opost; seq 300000; exit 12', pty={"size": {"cols": 80, "rows": 24}},
                       keepOutput=True)
    client = Following(mended, stream.pid)
    client.start()
    mended.send(stream.pid, b"\n", "pty")
    for _ in range(6):
        mended.mend()
    client.join(DEADLINE)
    assert client.error is None and client.end["exitCode"] == 12
    text = bytes(client.out)
    assert text[text.index(b"1\n2\n"):] == b"".join(b"%d\n" % i for i in range(1, 300001))


def test_killed_while_processes_are_started(mended, tmp_path):
    """Whatever has run is known, whatever is known has run."""
    ran = tmp_path / "ran"
    ran.mkdir()
    stop = threading.Event()

    def starter():
        while not stop.is_set():
            try:
                mended.sh('echo >"$1/$$"; read x', str(ran), stdin=True).close()
            except Exception:
                continue

    threads = [threading.Thread(target=starter, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(15):
        count = len(os.listdir(ran))
        limit = time.monotonic() + DEADLINE
        while len(os.listdir(ran)) < count + 10:
            assert time.monotonic() < limit
        mended.mend()
    stop.set()
    for thread in threads:
        thread.join(DEADLINE)
    limit = time.monotonic() + DEADLINE
    while True:
        names = {int(name) for name in os.listdir(ran)}
        if names == set(mended.pids()):
            break
        assert time.monotonic() < limit, names ^ set(mended.pids())
    assert len(names) >= 150
    for pid in list(names)[:20]:
        mended.send(pid, b"\n")
        assert mended.attach(pid).finish()[1]["exited"]
