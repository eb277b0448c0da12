# SPDX-License-Identifier: Apache-2.0
"""Processes that behave strangely, and very many of them."""
import os
import resource
import threading
import time

import pytest

from conftest import DEADLINE, RpcError

MIB = 1 << 20
# A sanitizer keeps what was freed, to see whether it is used again.
MEMORY_MOST = (64 if "ASAN_OPTIONS" not in os.environ else 4096) * MIB
# Ten gigabytes take a minute; the same happens with one.
LARGE = (10 if os.environ.get("CARREL_SLOW") else 1) << 30


def test_one_that_closes_its_outputs(agent):
    stream = agent.sh("exec >&- 2>&-; read x; exit 4", stdin=True)
    assert stream.pid in agent.pids()
    agent.send(stream.pid, b"\n")
    out, end = stream.finish()
    assert out["stdout"] == b"" and end["exitCode"] == 4


def test_one_that_forks_twice_and_leaves_a_daemon(agent, tmp_path):
    script = 'setsid sh -c "(echo \\$\\$ >$0; read x <$1; echo done >$2) &" >/dev/null 2>&1 </dev/null'
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    out, end = agent.sh(script.replace("$0", str(tmp_path / "pid")).replace("$1", gate)
                        .replace("$2", str(tmp_path / "done"))).finish()
    assert end["exited"]
    with open(gate, "w") as f:
        f.write("\n")
    limit = time.monotonic() + DEADLINE
    while not (tmp_path / "done").exists():
        assert time.monotonic() < limit


def test_one_that_ignores_the_polite_signal(agent):
    stream = agent.sh("trap '' TERM; echo ready; while :; do read x; done", stdin=True)
    stream.until(b"ready\n")
    agent.signal(stream.pid, "SIGNAL_SIGTERM")
    assert stream.pid in agent.pids()
    agent.signal(stream.pid, "SIGNAL_SIGKILL")
    assert stream.finish()[1]["status"] == "signal: killed"


def test_one_that_writes_packets(agent, tmp_path):
    """A pipe in packet mode is read a packet at a time: none may be left for the next process."""
    (tmp_path / "packets.py").write_text(
        "import fcntl, os\n"
        "fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) | os.O_DIRECT)\n"
        "os.read(0, 1)\n"
        "for i in range(20000):\n"
        "    os.write(1, b'%d\\n' % i)\n")
    expected = b"".join(b"%d\n" % i for i in range(20000))
    for _ in range(3):
        stream = agent.start("/usr/bin/python3", str(tmp_path / "packets.py"), stdin=True)
        other = agent.sh("read go; for i in $(seq 2000); do echo mine; done", stdin=True)
        for each in (stream, other):
            agent.send(each.pid, b"\n")
        assert stream.finish()[0]["stdout"] == expected
        assert other.finish()[0]["stdout"] == b"mine\n" * 2000


def test_one_that_floods_standard_error_only(agent):
    out, end = agent.sh("head -c 30000000 /dev/zero >&2").finish()
    assert len(out["stderr"]) == 30000000 and out["stdout"] == b"" and end["exited"]


def test_the_whole_group_is_killed_when_asked(agent):
    """The stock call means the process alone, the extension means all it has started."""
    stream = agent.sh("tail -f /dev/null >/dev/null 2>&1 & echo $!; wait; read x", stdin=True)
    child = int(stream.until(b"\n"))
    os.kill(child, 0)
    agent.unary("SendSignal", {"process": {"pid": stream.pid}, "signal": "SIGNAL_SIGKILL",
                               "group": True})
    assert stream.finish()[1]["status"] == "signal: killed"
    wait_gone(child)
    alone = agent.sh("tail -f /dev/null >/dev/null 2>&1 & echo $!; wait", stdin=True)
    child = int(alone.until(b"\n"))
    agent.signal(alone.pid)
    assert alone.finish()[1]["status"] == "signal: killed"
    os.kill(child, 0)
    # Its first is gone, the group can still be named.
    agent.unary("SendSignal", {"process": {"pid": alone.pid}, "signal": 15, "group": True})
    wait_gone(child)


def wait_gone(pid):
    limit = time.monotonic() + DEADLINE
    while True:
        try:
            with open(f"/proc/{pid}/stat") as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return
        except FileNotFoundError:
            return
        assert time.monotonic() < limit, f"{pid} lives"


def test_a_thousand_processes_and_streams(own_agent):
    count = 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    streams = [own_agent.start("/bin/cat", stdin=True) for _ in range(count)]
    assert len(own_agent.pids()) == count
    for i, stream in enumerate(streams):
        own_agent.send(stream.pid, b"%d\n" % i)
    for i, stream in enumerate(streams):
        assert stream.data() == b"%d\n" % i
    for stream in streams:
        own_agent.unary("CloseStdin", {"process": {"pid": stream.pid}})
    for stream in streams:
        assert stream.finish()[1]["exited"]
        stream.close()
    assert own_agent.pids() == []


def test_a_hundred_at_once(agent):
    results, errors = [], []

    def one(i):
        try:
            out, end = agent.sh(f"echo {i}; exit {i % 50}").finish()
            results.append((i, out["stdout"], end.get("exitCode", 0)))
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert not errors
    assert sorted(results) == [(i, b"%d\n" % i, i % 50) for i in range(100)]


def rss(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("VmRSS"))


def test_a_flood_to_a_reader(own_agent):
    """Raw off the socket, for Python to keep up; in a bounded memory."""
    size = LARGE
    stream = own_agent.start("/usr/bin/head", "-c", str(size), "/dev/zero")
    sock = stream.connection.sock
    got, most, view = 0, 0, memoryview(bytearray(1 << 20))
    last = b""
    sock.settimeout(DEADLINE)
    while not last.endswith(b"\r\n0\r\n\r\n"):
        n = sock.recv_into(view)
        assert n
        got += n
        last = (last + bytes(view[max(0, n - 16):n]))[-16:]
        if got % (256 << 20) < n:
            most = max(most, rss(own_agent.process.pid))
    assert got > size * 4 // 3
    assert most < MEMORY_MOST


def test_a_flood_that_nobody_reads(own_agent):
    """Bounded: by memory, by disk; what is left is the end of it."""
    size = LARGE
    stream = own_agent.sh(f"head -c {size} /dev/zero; printf end", stdin=False)
    stream.close()
    own_agent.wait_gone(stream.pid)
    late = own_agent.attach(stream.pid)
    out, end = late.finish()
    assert end["exited"] and out["stdout"].endswith(b"end") and len(out["stdout"]) > 60 * MIB
    assert rss(own_agent.process.pid) < MEMORY_MOST


def test_input_to_one_that_is_gone(agent):
    stream = agent.sh("exit 0", stdin=True)
    stream.finish()
    with pytest.raises(RpcError) as raised:
        agent.send(stream.pid, b"x")
    assert raised.value.code == "not_found"
